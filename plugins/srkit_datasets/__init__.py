"""Where images come from: folders, and dead leaves that need no file."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    yield srkit.Component(
        "dataset",
        "folder",
        "srkit_datasets.folder:Folder",
        summary="Images of a folder, with LR beside HR in any usual layout",
    )
    yield srkit.Component(
        "dataset",
        "leaves",
        "srkit_datasets.leaves:Leaves",
        summary="Drawn images with the statistics of photographs",
        source="Lee, Mumford and Huang, IJCV 2001",
    )
