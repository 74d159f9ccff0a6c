"""Several packed files as one dataset: shards of `srkit prepare`, and files that others wrote."""

import json
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
from srkit_datasets.h5 import H5

import srkit
from srkit.images.manifest import ImageRecord, Manifest
from srkit.plugin.discovery import discover
from tests.plugins.test_h5 import IMAGES, noise, rejected, same, shrunk

SHARDS = 3


def write(kind, path, images, scales=(2,), by="bicubic", shard=None):
    """Write a file as `srkit prepare` does."""
    writer, records = srkit.create("writer", kind, path=Path(path)), {}
    for name, image in images.items():
        sides = {"hr": image, **{f"lr_x{scale}": shrunk(image, scale) for scale in scales}}
        writer.add(name, sides)
        for side, pixels in sides.items():
            records.setdefault(side, []).append(ImageRecord.of(pixels))
    made = {"format": kind, "lr": {f"x{scale}": by for scale in scales}} | ({} if shard is None else {"shard": shard})
    manifest = Manifest(tuple(images), {side: tuple(found) for side, found in records.items()}, made)
    writer.finish(manifest)
    writer.close()
    return manifest


@pytest.fixture(params=["h5", "lmdb"])
def kind(request, tmp_path, monkeypatch):
    """A format, of which the folder that is worked in has one file with all images and three with a part of them."""
    monkeypatch.chdir(tmp_path)
    names = list(IMAGES)
    write(request.param, f"all.{request.param}", IMAGES)
    for i in range(SHARDS):
        part = names[len(names) * i // SHARDS : len(names) * (i + 1) // SHARDS]
        shard = f"{i + 1}/{SHARDS}"
        write(request.param, f"set_{i + 9}.{request.param}", {name: IMAGES[name] for name in part}, shard=shard)
    return request.param


def opened(kind, *names):
    paths = [f"{name}.{kind}" for name in names]
    return srkit.create("dataset", kind, path=paths if len(paths) > 1 else paths[0])


@pytest.mark.parametrize("names", [["set_9", "set_10", "set_11"], ["set_*"]])
def test_several_files_are_one_dataset_that_is_the_one_of_all_images(kind, names):
    source, whole = opened(kind, *names), opened(kind, "all")
    assert [source.name(i) for i in range(len(source))] == list(IMAGES)
    for i in range(len(source)):
        assert source.size(i) == whole.size(i)
        assert same(source.read(i), whole.read(i))
        assert same(source.read(i, srkit.Window(1, 2, 3, 4)), whole.read(i)[1:4, 2:6])
        assert same(source.lr(2).read(i), whole.lr(2).read(i))
    assert source.windowed
    assert source.lr(2).windowed
    assert source.lr(4) is None
    assert source.manifest() == attrs_of(whole.manifest(), "format", "lr")
    assert source.fingerprint() == source.lr(2).fingerprint() == whole.fingerprint()


def attrs_of(manifest, *keys):
    """Return a manifest with some of what it says of how it came to be."""
    return Manifest(manifest.names, manifest.sides, {key: manifest.made[key] for key in keys})


def test_what_was_found_names_the_files_and_the_shards_that_are_not_there(kind):
    count = len(IMAGES)
    found = f"{count} HR images in 3 files, set_9.{kind} to set_11.{kind}, LR x2 beside them"
    assert opened(kind, "set_*").describe() == found
    source = opened(kind, "set_9", "set_11")
    assert source.describe() == (
        f"{len(source)} HR images in 2 files, set_9.{kind} to set_11.{kind} (without shard 2 of 3), LR x2 beside them"
    )
    Path("bad").mkdir()
    write(kind, f"bad/a.{kind}", {"a": noise(8, 8)}, shard="one/2")
    assert opened(kind, "bad/a").describe() == f"1 HR image in bad/a.{kind}, LR x2 beside it"


def test_an_image_of_one_name_in_two_files_is_refused_with_both(kind):
    name = next(iter(IMAGES))
    assert rejected(opened, kind, "set_9", "all") == (
        f"all.{kind}: has an image '{name}', and so has set_9.{kind}: names must differ"
    )
    assert rejected(opened, kind, "all", "all").startswith(f"all.{kind}: has an image '{name}', and so has all.{kind}")


def test_files_that_were_not_packed_alike_are_refused(kind):
    write(kind, f"both.{kind}", {"a": noise(8, 8)}, scales=(2, 4))
    write(kind, f"pillow.{kind}", {"b": noise(8, 8)}, by="pillow_bicubic")
    assert rejected(opened, kind, "all", "both") == (
        f"both.{kind}: holds hr, lr_x2, lr_x4, and all.{kind} hr, lr_x2: files that are read as one must hold the same"
    )
    assert rejected(opened, kind, "all", "pillow") == (
        f"pillow.{kind}: has LR x2 by pillow_bicubic, and all.{kind} by bicubic"
    )


def test_a_file_that_is_not_there_and_a_pattern_that_none_fits_are_named(kind, tmp_path):
    assert rejected(opened, kind, "all", "gone") == f"gone.{kind}: is not there; looked for in {tmp_path}"
    assert rejected(opened, kind, "gone_*") == f"gone_*.{kind}: is a pattern that no file fits"
    with pytest.raises(ValueError, match=r"^path must name one file at least$"):
        srkit.create("dataset", kind, path=[])


def test_a_file_whose_own_name_looks_like_a_pattern_is_that_file(kind):
    Path(f"all.{kind}").rename(f"all[1].{kind}")
    assert len(opened(kind, "all[1]")) == len(IMAGES)


def test_an_image_that_is_not_in_its_file_is_named_with_that(kind):
    last = list(IMAGES)[-1]
    if kind == "h5":
        with h5py.File("set_11.h5", "r+") as file:
            del file["hr"]
            file.create_group("hr")
    else:
        with lmdb.open("set_11.lmdb", map_size=2**20) as database, database.begin(write=True) as transaction:
            for key, _ in transaction.cursor():
                transaction.delete(key)
    source = opened(kind, "set_*")
    assert rejected(source.read, len(source) - 1).startswith(f"set_11.{kind}: hr/{last}: ")


def test_lr_may_lie_in_several_files_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = {name: noise(8, 12) for name in "abcd"}
    for file, names in {"hr_1": "ab", "hr_2": "cd"}.items():
        write("h5", f"{file}.h5", {name: images[name] for name in names}, scales=())
    for file, names in {"lr_x2_1": "c", "lr_x2_2": "dab"}.items():
        write("h5", f"{file}.h5", {name: shrunk(images[name], 2) for name in names}, scales=())
    source = H5(path="hr_*.h5", lr="lr_x{scale}_*.h5")
    for i, image in enumerate(images.values()):
        assert same(source.lr(2).read(i), shrunk(image, 2))
    assert source.describe() == "4 HR images in 2 files, hr_1.h5 to hr_2.h5, LR in lr_x{scale}_*.h5"
    Path("lr_x2_2.h5").unlink()
    assert rejected(source.lr, 2).startswith("lr_x2_1.h5: has no LR image for 3 of 4 HR images: a, b, d; looked for a")


def test_files_of_others_are_joined_and_their_fingerprint_is_that_of_all_pixels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        with h5py.File(f"{number}.h5", "w") as file:
            file.create_dataset(f"hr/{number}", data=np.full((3, 8, 8), number, np.uint8))
    source = H5(path="?.h5")
    assert [int(source.read(i).max()) for i in range(2)] == [0, 1]
    assert source.manifest() is None
    before = source.fingerprint()
    Path("1.h5").unlink()
    with h5py.File("1.h5", "w") as file:
        file.create_dataset("hr/1", data=np.full((3, 8, 8), 7, np.uint8))
    assert H5(path="?.h5").fingerprint() != before
    write("h5", "srkits.h5", {"a": noise(8, 8)}, scales=())
    joined = H5(path=["0.h5", "srkits.h5"])
    assert joined.manifest() is None
    assert len(joined) == 2


def test_a_recipe_names_several_files_or_a_pattern(kind):
    from srkit.recipe.reading import read_part

    for text in (json.dumps([f"set_9.{kind}", f"set_10.{kind}"]), f"set_*.{kind}"):
        part = read_part(discover(), "dataset", kind, [f"path={text}"])
        assert len(srkit.create("dataset", kind, **part.settings)) > 1
    with pytest.raises(srkit.RecipeError) as error:
        read_part(discover(), "dataset", kind, ["path=3"])
    assert str(error.value) == "--set path=3: 'path' must be a string or list of strings, not 3"


def test_a_hostile_shard_of_a_manifest_is_no_shard(kind):
    for shard in ("1/99999999", [1, 2], "0x1/2", "5/3"):
        path = f"hostile_{str(shard).replace('/', '_')}.{kind}"
        write(kind, path, {"a": noise(8, 8)}, shard=shard)
        srkit.create("dataset", kind, path=path).describe()
