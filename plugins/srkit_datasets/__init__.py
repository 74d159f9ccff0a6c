"""Where images come from: folders, and dead leaves that need no file."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    yield srkit.Component(
        "dataset",
        "folder",
        "srkit_datasets.folder:Folder",
        summary="PNG, JPEG, WebP, TIFF or BMP files in a folder, and LR beside them as DIV2K, EDSR or BasicSR keep it",
    )
    yield srkit.Component(
        "dataset",
        "leaves",
        "srkit_datasets.leaves:Leaves",
        summary="dead leaves: drawn images with the statistics of photographs, for tests and first steps",
        source="Lee, Mumford and Huang, IJCV 2001",
    )
