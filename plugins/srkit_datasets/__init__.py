"""Where images come from, and the formats that they are packed into: folders, HDF5, LMDB; dead leaves need no file."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    from importlib.util import find_spec

    yield srkit.Component(
        "dataset",
        "folder",
        "srkit_datasets.folder:Folder",
        summary="Images of a folder, with LR beside HR in any usual layout",
    )
    yield srkit.Component(
        "dataset",
        "h5",
        "srkit_datasets.h5:H5",
        summary="Images of an HDF5 file, read by windows; also groups hr and lr of floats",
    )
    yield srkit.Component(
        "dataset",
        "lmdb",
        "srkit_datasets.lmdb:LMDB",
        summary="Images of an LMDB, read by windows; also BasicSR's with meta_info.txt",
    )
    yield srkit.Component(
        "dataset",
        "litdata",
        "srkit_datasets.litdata:LitData",
        summary="Tiles of a LitData set, in a folder or an object store",
    )
    yield srkit.Component(
        "dataset",
        "leaves",
        "srkit_datasets.leaves:Leaves",
        summary="Drawn images with the statistics of photographs",
        source="Lee, Mumford and Huang, IJCV 2001",
    )
    yield srkit.Component(
        "dataset",
        "mix",
        "srkit_datasets.mix:Mix",
        summary="Several datasets as one, each as often as its weight says",
    )
    yield srkit.Component(
        "writer",
        "folder",
        "srkit_datasets.folder_writer:FolderWriter",
        summary="PNG files, HR and LR as EDSR's benchmark sets lay them out",
    )
    yield srkit.Component(
        "writer",
        "h5",
        "srkit_datasets.h5_writer:H5Writer",
        summary="One HDF5 file of contiguous pixels",
    )
    yield srkit.Component(
        "writer",
        "lmdb",
        "srkit_datasets.lmdb_writer:LMDBWriter",
        summary="An LMDB of raw pixels that grows by itself",
    )
    yield srkit.Component(
        "writer",
        "litdata",
        "srkit_datasets.litdata_writer:LitDataWriter",
        summary="A LitData set, for object stores",
        missing="" if find_spec("litdata") else "it needs litdata: pip install 'srkit[litdata]'",
    )
