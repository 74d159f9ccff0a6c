import io
import itertools
import os
import threading
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image
from srkit_datasets.folder import Folder
from srkit_datasets.h5 import H5
from srkit_datasets.lmdb import LMDB, MANIFEST
from srkit_datasets.lmdb_writer import LMDBWriter

from srkit import InputRejected, Window
from srkit.images import manifest
from srkit.images.encoding import encode_png
from srkit.images.opening import KINDS
from tests.conftest import CHAOS_SEED, calls
from tests.plugins.test_h5 import (
    FULL,
    IMAGES,
    TRUNCATED,
    after_it_shrank,
    forks_agree,
    noise,
    pack,
    rejected,
    run,
    same,
    same_as_folder,
    shrunk,
    threads_agree,
)

DATA = os.environ.get("SRKIT_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")


@pytest.fixture
def packed(tmp_path):
    pack("lmdb", tmp_path / "a.lmdb")
    return str(tmp_path / "a.lmdb")


# What srkit writes


def test_what_was_written_reads_back(packed):
    source = LMDB(path=packed)
    assert [source.name(index) for index in range(len(source))] == list(IMAGES)
    for index, image in enumerate(IMAGES.values()):
        assert source.size(index) == image.shape[:2]
        assert same(source.read(index), image)
        for scale in (2, 4):
            assert same(source.lr(scale).read(index), shrunk(image, scale))


def test_the_pixels_are_those_of_the_folder_dataset(tmp_path):
    assert same_as_folder("lmdb", tmp_path)


def test_a_scale_that_was_not_written_is_none(packed):
    assert LMDB(path=packed).lr(3) is None


def test_the_manifest_reads_back_and_the_fingerprint_is_that_of_hdf5(tmp_path):
    manifest = pack("lmdb", tmp_path / "a.lmdb")
    source = LMDB(path=str(tmp_path / "a.lmdb"))
    pack("h5", tmp_path / "a.h5")
    assert source.manifest() == manifest
    assert source.fingerprint() == H5(path=str(tmp_path / "a.h5")).fingerprint() == manifest.fingerprint


def test_the_manifest_is_where_srkit_looks_for_it(packed):
    assert manifest.FILE == MANIFEST
    assert sorted(os.listdir(packed)) == ["MANIFEST.json", "data.mdb"]  # and no lock.mdb


def test_what_was_found_is_told(tmp_path):
    (tmp_path / "data").mkdir()
    pack("lmdb", tmp_path / "data" / "a.lmdb")
    source = LMDB(path=str(tmp_path / "data" / "a.lmdb"))
    assert source.describe() == "4 HR images in data/a.lmdb, LR x2, x4 beside them"
    assert source.windowed


def test_what_is_read_is_no_part_of_the_map(packed):
    source = LMDB(path=packed)
    image, window = source.read(0), source.read(0, Window(2, 3, 4, 5))
    del source  # and the environment is closed
    assert image.flags.writeable
    assert window.base is None
    assert same(window, IMAGES["baby"][2:6, 3:8])


def test_pixels_are_stored_row_by_row(packed):
    with lmdb.open(packed, readonly=True, lock=False) as environment, environment.begin() as transaction:
        assert transaction.get(b"hr/00000002") == IMAGES["deep"].astype("<u2").tobytes()
        assert environment.stat()["entries"] == 3 * len(IMAGES)


def test_threads_read_alike(packed):
    assert threads_agree(LMDB(path=packed), IMAGES)


def test_forked_processes_read_alike(tmp_path):
    assert forks_agree("lmdb", tmp_path)


def test_two_datasets_may_have_one_folder(packed):
    first, second = LMDB(path=packed), LMDB(path=f"{packed}/../a.lmdb")
    assert same(first.read(0), second.read(0))
    del first
    assert same(second.read(1), list(IMAGES.values())[1])


def test_datasets_come_and_go_in_threads(packed):
    def come_and_go():
        for _ in range(50):
            if not same(LMDB(path=packed).read(0), IMAGES["baby"]):
                wrong.append(True)

    wrong = []
    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_environment_is_closed_with_its_last_dataset(packed):
    source = LMDB(path=packed)
    source.read(0)
    del source
    lmdb.open(packed, readonly=True, lock=False).close()  # which would refuse a file that is open here


def test_a_folder_that_is_replaced_is_read_anew(tmp_path, packed):
    old = LMDB(path=packed)
    pack("lmdb", tmp_path / "b.lmdb", {"other": IMAGES["deep"]})
    os.rename(packed, tmp_path / "c.lmdb")
    os.rename(tmp_path / "b.lmdb", packed)
    assert same(LMDB(path=packed).read(0), IMAGES["deep"])
    assert same(old.read(0), IMAGES["baby"])


# The writer


def test_the_map_grows_by_itself(tmp_path):
    images = {f"{i}": noise(9, 10, seed=i) for i in range(1000)}
    images["large"] = noise(2500, 3000)  # 22 MB, more than the map begins with
    pack("lmdb", tmp_path / "a.lmdb", images, scales=())
    source = LMDB(path=str(tmp_path / "a.lmdb"))
    assert all(same(source.read(index), image) for index, image in enumerate(images.values()))
    assert (tmp_path / "a.lmdb" / "data.mdb").stat().st_size < 25e6


def test_a_writer_does_not_touch_what_is_there(tmp_path):
    (tmp_path / "a.lmdb").mkdir()
    with pytest.raises(FileExistsError):
        LMDBWriter(path=tmp_path / "a.lmdb")
    assert os.listdir(tmp_path / "a.lmdb") == []


def test_a_full_disk_is_one_error_of_the_writer(tmp_path):
    for side in (10, 40, 200):
        (line,) = run(FULL, "lmdb", tmp_path / f"{side}.lmdb", side)
        assert line.startswith("mdb_txn_commit: ")  # where in a page the disk was full decides on the rest
        assert line.endswith(" MiB are free there)")


# BasicSR's


def encoded(image, form="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


def put(path, images, lines=None):
    """Write an LMDB of image files as BasicSR's create_lmdb.py does."""
    path.mkdir()
    with lmdb.open(str(path), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for name, data in images.items():
            transaction.put(name.encode(), data)
    if lines is None:
        lines = [f"{name}.png (1,1,3) 1" for name in images]
    (path / "meta_info.txt").write_text("".join(f"{line}\n" for line in lines))
    return str(path)


PHOTOS = {"baboon": noise(16, 24, seed=1), "comic": noise(18, 17, seed=2), "000/00000001": noise(12, 13, seed=3)}


def basicsr(tmp_path, form="{}"):
    hr = put(tmp_path / "gt.lmdb", {name: encode_png(image) for name, image in PHOTOS.items()})
    lr = {form.format(name): encode_png(shrunk(image, 4)) for name, image in reversed(PHOTOS.items())}
    return hr, put(tmp_path / "lq.lmdb", lr)


def test_basicsrs_images_are_decoded(tmp_path):
    source = LMDB(path=basicsr(tmp_path)[0])
    assert [source.name(index) for index in range(3)] == list(PHOTOS)
    for index, image in enumerate(PHOTOS.values()):
        assert source.size(index) == image.shape[:2]
        assert same(source.read(index), image)
        assert same(source.read(index, Window(1, 2, 8, 5)), image[1:9, 2:7])
    assert not source.windowed
    assert source.manifest() is None
    assert source.lr(4) is None
    assert source.describe() == f"3 HR images in {tmp_path.name}/gt.lmdb, no LR beside them"


@pytest.mark.parametrize("form", ["{}", "{}x4"])
def test_basicsrs_pairs_are_two_folders(tmp_path, form):
    hr, lr = basicsr(tmp_path, form)
    source = LMDB(path=hr, lr=lr)
    beside = source.lr(4)
    assert [beside.name(index) for index in range(3)] == list(PHOTOS)
    assert all(same(beside.read(index), shrunk(image, 4)) for index, image in enumerate(PHOTOS.values()))
    assert source.describe() == f"3 HR images in {tmp_path.name}/gt.lmdb, LR in {tmp_path.name}/lq.lmdb"


def test_a_given_lr_may_name_the_scale(tmp_path):
    hr, lr = basicsr(tmp_path)
    os.rename(lr, tmp_path / "x4.lmdb")
    source = LMDB(path=hr, lr=str(tmp_path / "x{scale}.lmdb"))
    assert len(source.lr(4)) == 3
    assert rejected(source.lr, 2) == f"{tmp_path / 'x2.lmdb'}: is not there"


def test_a_given_lr_of_another_scale_is_refused(tmp_path):
    hr, lr = basicsr(tmp_path)
    assert rejected(LMDB(path=hr, lr=lr).lr, 2) == (
        f"{lr}: baboon: is 6x4, but HR is 24x16, which needs 12x8 at scale 2"
    )


def test_hr_without_lr_is_named(tmp_path):
    hr = basicsr(tmp_path)[0]
    lr = put(tmp_path / "few.lmdb", {"comic": encode_png(shrunk(PHOTOS["comic"], 4))})
    assert rejected(LMDB(path=hr, lr=lr).lr, 4) == (
        f"{lr}: has no LR image for 2 of 3 HR images: baboon, 000/00000001; "
        "looked for baboon; nothing is left over there"
    )


def test_one_channel_becomes_three(tmp_path):
    grey = noise(9, 11)[..., 0]
    source = LMDB(path=put(tmp_path / "a.lmdb", {"bridge": encoded(grey)}))
    assert same(source.read(0), np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_the_size_is_the_files_own_and_not_what_meta_info_says(tmp_path, form):
    source = LMDB(path=put(tmp_path / "a.lmdb", {"a": encoded(noise(9, 11), form)}, ["a.png (480,500,3) 1"]))
    assert source.size(0) == (9, 11)


def test_what_cannot_be_decoded_is_named(tmp_path):
    data = encode_png(noise(9, 11))
    path = put(
        tmp_path / "gt.lmdb", {"a": b"", "b": b"<html>", "c": data[:-30]}, [f"{n}.png (9,11,3) 1" for n in "abcd"]
    )
    source = LMDB(path=path)
    assert rejected(source.read, 0) == rejected(source.size, 0) == f"{path}: a: is empty"
    assert rejected(source.read, 1) == (f"{path}: b: is not {KINDS}: it begins with b'<html>'")
    assert source.size(2) == (9, 11)
    assert rejected(source.read, 2).startswith(f"{path}: c: cannot be decoded: ")
    assert rejected(source.read, 3) == rejected(source.size, 3) == f"{path}: d: is not there"


def test_a_giant_is_refused_by_its_header(tmp_path):
    data = bytearray(encode_png(noise(9, 11)))
    data[16:20] = (70_000).to_bytes(4)
    path = put(tmp_path / "gt.lmdb", {"a": bytes(data)})
    assert rejected(LMDB(path=path).size, 0) == (f"{path}: a: is 70000x9; a side may have at most 65,535 pixels")


def test_the_fingerprint_of_basicsrs_is_that_of_keys_and_bytes(tmp_path):
    def fingerprint(images):
        return LMDB(path=put(tmp_path / f"{next(numbers)}.lmdb", images)).fingerprint()

    numbers = itertools.count()

    images = {name: encode_png(image) for name, image in PHOTOS.items()}
    found = fingerprint(images)
    assert len(found) == 16
    assert fingerprint(images) == found
    assert fingerprint({**images, "comic": images["comic"][:-1] + b"\1"}) != found
    assert fingerprint({"baboons" if name == "baboon" else name: data for name, data in images.items()}) != found


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], ": names no images"),
        (["a.png (9,11,3) 1", "b.png"], ":2: is not of the form 'baboon.png (480,500,3) 1'"),
        (["a.png (9,11,3) 1", "a.bmp (9,11,3) 1"], ":2: names a a second time"),
    ],
)
def test_a_meta_info_that_is_none_is_refused(tmp_path, lines, reason):
    path = put(tmp_path / "a.lmdb", {"a": b""}, lines)
    assert rejected(LMDB, path=path) == f"{path}/meta_info.txt{reason}"


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf000/a.png (9,11,3) 1\r\n\r\n000/b.png (9, 11, 3) 1  \r\n",
        b"000\\a.png (9,11,3) 1\n\n000\\b.png (9,11) 1",
        b"000/a.png (9,11,3)\r000/b.png (9,11,3)\r",
        "000/a.png (9,11,3) 1\r\n000/b.png (9,11,3) 1\r\n".encode("utf-16"),
    ],
)
def test_a_meta_info_as_other_systems_write_it_is_read(tmp_path, text):
    image = noise(9, 11)
    path = put(tmp_path / "a.lmdb", {"000/a": encode_png(image), "000/b": encode_png(image)})
    Path(path, "meta_info.txt").write_bytes(text)
    source = LMDB(path=path)
    assert [source.name(i) for i in range(len(source))] == ["000/a", "000/b"]
    assert same(source.read(1), image)


def test_a_meta_info_of_another_encoding_is_refused(tmp_path):
    path = put(tmp_path / "a.lmdb", {"a": b""})
    Path(path, "meta_info.txt").write_bytes("\u00e9.png (9,11,3) 1".encode("latin-1"))
    assert rejected(LMDB, path=path) == f"{path}/meta_info.txt: is not UTF-8"


@needs_data
@pytest.mark.parametrize("name", ["gt", "lq"])
def test_basicsrs_own_files_give_the_pixels_of_their_pngs(name):
    root = Path(DATA) / "data/basicsr"
    source, folder = LMDB(path=str(root / f"{name}.lmdb")), Folder(path=str(root / name))
    assert [source.name(index) for index in range(len(source))] == ["baboon", "comic"]
    for index in range(len(folder)):
        assert source.size(index) == folder.size(index)
        assert same(source.read(index), folder.read(index))


@needs_data
def test_basicsrs_own_pairs_are_found():
    root = Path(DATA) / "data/basicsr"
    source = LMDB(path=str(root / "gt.lmdb"), lr=str(root / "lq.lmdb"))
    assert source.lr(4).size(0) == (120, 123)
    assert source.describe() == "2 HR images in basicsr/gt.lmdb, LR in basicsr/lq.lmdb"


# Folders that are refused


def test_a_missing_folder_is_named_with_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rejected(LMDB, path="a.lmdb") == f"a.lmdb: is not there; looked for in {tmp_path}"


def test_a_file_that_is_no_lmdb_is_refused(packed):
    assert rejected(LMDB, path=f"{packed}/MANIFEST.json") == (
        f'{packed}/MANIFEST.json: is a file; give the folder that holds data.mdb, or take another dataset: type = "h5"'
    )


def test_the_data_of_a_folder_stand_for_the_folder(packed):
    assert LMDB(path=f"{packed}/data.mdb").fingerprint() == LMDB(path=packed).fingerprint()


def test_an_lmdb_of_one_file_gives_each_value_that_is_an_image(tmp_path):
    path = str(tmp_path / "a.mdb")
    with lmdb.open(path, subdir=False, lock=False) as environment, environment.begin(write=True) as transaction:
        for name, image in PHOTOS.items():
            transaction.put(name.encode(), encode_png(image))
            transaction.put(f"label-{name}".encode(), b"a monkey")
        transaction.put(b"num-samples", b"3")
    source = LMDB(path=path)
    assert {source.name(i): source.read(i).tobytes() for i in range(len(source))} == {
        name: image.tobytes() for name, image in PHOTOS.items()
    }


def test_an_lmdb_without_images_is_refused(tmp_path):
    path = str(tmp_path / "a.mdb")
    with lmdb.open(path, subdir=False, lock=False) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"a", b"1")
    assert rejected(LMDB, path=path) == (
        f"{path}: has neither srkit's MANIFEST.json, nor BasicSR's meta_info.txt, nor image files as values"
    )


def test_data_that_are_a_pipe_are_refused(packed):
    os.unlink(f"{packed}/data.mdb")
    os.mkfifo(f"{packed}/data.mdb")
    assert rejected(LMDB, path=packed) == f"{packed}/data.mdb: is not a file"


def test_data_that_become_shorter_while_they_are_read_are_named(packed):
    file = Path(packed, "data.mdb")
    length = file.stat().st_size
    assert after_it_shrank("lmdb", packed, file) == (
        3,
        f"{file}: became shorter while it was read: it has 4,096 bytes of {length:,}; "
        "put the whole file back, and the same command continues\n",
    )


EDITS = """
    import collections, os, random, sys
    from pathlib import Path
    import srkit

    path, file, rng = sys.argv[1], Path(sys.argv[2]), random.Random(int(sys.argv[3]))
    data = file.read_bytes()
    # The tree's own pages: those of branches, of leaves, and the two heads.
    pages = [p for p in range(0, len(data), 4096) if data[p + 10] in (1, 2, 8) and data[p + 11] == 0]
    srkit.create("dataset", "lmdb", path=path)
    outcomes = collections.Counter()
    for _ in range(int(sys.argv[4])):
        damaged = bytearray(data)
        for _ in range(2):
            damaged[rng.choice(pages) + rng.choice([rng.randrange(16, 160), rng.randrange(4096)])] = rng.randrange(256)
        file.write_bytes(damaged)
        pid = os.fork()
        if pid == 0:
            try:
                source = srkit.create("dataset", "lmdb", path=path)
                for index in range(len(source)):
                    source.read(index)
            except srkit.InputRejected:
                os._exit(3)
            os._exit(0)
        outcomes[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])] += 1
    print(set(outcomes) <= {0, 3} and outcomes[3] > 0 or dict(outcomes))
"""


def test_a_damaged_tree_kills_nobody(tmp_path):
    pack("lmdb", tmp_path / "a.lmdb", {f"{i:04d}": noise(6, 6, seed=i) for i in range(120)})
    assert run(EDITS, tmp_path / "a.lmdb", tmp_path / "a.lmdb" / "data.mdb", CHAOS_SEED, 150) == ["True"]


def test_a_tree_that_leads_beyond_its_file_is_named(packed):
    file = Path(packed, "data.mdb")
    data = bytearray(file.read_bytes())
    leaf = next(p for p in range(8192, len(data), 4096) if data[p + 10] == 2 and data[p + 11] == 0)
    data[leaf + 16 : leaf + 18] = b"\xff\xff"  # where the page says that its first node begins
    file.write_bytes(data)
    assert rejected(LMDB, path=packed) == (
        f"{file}: is damaged: page {leaf // 4096} has a node beyond its end; pack the images again"
    )


def test_a_tree_is_walked_once_in_a_process(packed):
    LMDB(path=packed)
    again = calls(lambda: LMDB(path=packed))
    os.utime(f"{packed}/data.mdb", ns=(1, 1))
    assert calls(lambda: LMDB(path=packed)) > again


@needs_data
def test_the_lmdbs_of_public_reports_are_read_or_named(tmp_path):
    cases = Path(DATA, "cases")
    damaged = cases / "bus_error.lmdb"
    assert rejected(LMDB, path=str(damaged)) == (
        f"{damaged}/data.mdb: is damaged: page 23 has a value beyond the end of the file; pack the images again"
    )
    assert LMDB(path=str(cases / "lmdb-single-file-message" / "l_file.mdb")).read(0).shape == (24, 32, 3)
    nested = LMDB(path=str(cases / "nested-keys-to-folder" / "l_nested.lmdb"))
    assert [nested.name(i) for i in range(2)] == ["000/a", "001/a"]


def test_a_folder_of_something_else_is_refused(tmp_path):
    assert (
        rejected(LMDB, path=str(tmp_path))
        == f"{tmp_path}: has neither srkit's MANIFEST.json nor BasicSR's meta_info.txt"
    )


def test_a_folder_without_data_is_refused(packed):
    os.unlink(f"{packed}/data.mdb")
    assert rejected(LMDB, path=packed) == f"{packed}: has no data.mdb"


def test_data_that_is_no_lmdb_is_refused(packed):
    Path(packed, "data.mdb").write_bytes(bytes(100_000))
    assert rejected(LMDB, path=packed) == (
        f"{packed}/data.mdb: cannot be opened: {packed}: MDB_INVALID: File is not an LMDB file"
    )


def test_a_changed_manifest_is_refused(packed):
    file = Path(packed, "MANIFEST.json")
    file.write_bytes(file.read_bytes().replace(b"baby", b"bady"))
    assert rejected(LMDB, path=packed) == f"{file}: its manifest cannot be used: a manifest that was changed"


def test_truncated_data_is_refused(packed):
    file = Path(packed, "data.mdb")
    data = file.read_bytes()
    file.write_bytes(data[:-5000])
    assert rejected(LMDB, path=packed) == (f"{file}: is truncated: it has {len(data) - 5000:,} bytes of {len(data):,}")


def test_data_truncated_anywhere_kills_nobody(packed):
    assert run(TRUNCATED, "lmdb", packed, f"{packed}/data.mdb") == ["True"]


def test_pixels_that_are_not_what_the_manifest_says_are_refused(packed):
    with lmdb.open(packed, lock=False) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"hr/00000000", bytes(1234))
        transaction.delete(b"lr_x2/00000001")
    source = LMDB(path=packed)
    assert rejected(source.read, 0) == f"{packed}: hr/baby: has 1,234 bytes, not those of its size"
    assert rejected(source.lr(2).read, 1) == f"{packed}: lr_x2/2/../é: is not there"


def test_a_folder_that_another_part_of_the_process_has_open_is_told(packed):
    with lmdb.open(packed, lock=False), pytest.raises(InputRejected) as error:
        LMDB(path=packed)
    assert str(error.value) == (
        f"{packed}/data.mdb: cannot be opened: The environment '{packed}' is already open in this process."
    )
