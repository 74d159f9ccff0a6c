import contextlib
import functools
import http.server
import json
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import srkit
from tests.plugins.test_h5 import IMAGES, forks_agree, pack, rejected, same, same_as_folder, shrunk, threads_agree

litdata = pytest.importorskip("litdata")

from srkit_datasets.litdata import INDEX, LitData  # noqa: E402


@pytest.fixture
def packed(tmp_path):
    pack("litdata", tmp_path / "set")
    return tmp_path / "set"


def changed(folder, change):
    """Write an index anew, as `change` makes it."""
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(change(index) or index))


def test_what_was_written_reads_back(packed):
    source = LitData(path=str(packed))
    assert [source.name(index) for index in range(len(source))] == list(IMAGES)
    for index, image in enumerate(IMAGES.values()):
        assert source.size(index) == image.shape[:2]
        assert same(source.read(index), image)
        assert same(source.read(index, srkit.Window(3, 2, 11, 5)), image[3:14, 2:7])
        for scale in (2, 4):
            assert same(source.lr(scale).read(index), shrunk(image, scale))
    assert source.lr(3) is None


def test_the_pixels_are_those_of_the_folder_dataset(tmp_path):
    same_as_folder("litdata", tmp_path)


def test_the_fingerprint_is_that_of_the_same_images_in_any_format(packed, tmp_path):
    pack("h5", tmp_path / "a.h5")
    fingerprints = {source.fingerprint() for source in (LitData(path=str(packed)), made("h5", tmp_path / "a.h5"))}
    assert len(fingerprints) == 1


def made(kind, path):
    return srkit.create("dataset", kind, path=str(path))


def test_litdata_itself_reads_the_set(packed):
    """An item is a list of bytes: HR's pixels, and LR's of each scale."""
    items = litdata.StreamingDataset(str(packed), max_cache_size="1GB")
    assert len(items) == len(IMAGES)
    for index, image in enumerate(IMAGES.values()):
        assert items[index] == [image.tobytes(), shrunk(image, 2).tobytes(), shrunk(image, 4).tobytes()]


def test_sets_of_several_chunks_and_several_sets_are_read_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr("srkit_datasets.litdata_writer._CHUNK", 8_000)
    pack("litdata", tmp_path / "part_1")
    others = {f"other {name}": image for name, image in IMAGES.items()}
    pack("litdata", tmp_path / "part_2", others)
    assert len(list((tmp_path / "part_1").glob("*.bin"))) > 1
    source = LitData(path=str(tmp_path / "part_*"))
    assert [source.name(index) for index in range(len(source))] == [*IMAGES, *others]
    for index, image in enumerate([*IMAGES.values(), *others.values()]):
        assert same(source.read(index), image)


def test_threads_agree(tmp_path):
    pack("litdata", tmp_path / "set", IMAGES, scales=())
    assert threads_agree(LitData(path=str(tmp_path / "set")), IMAGES)


def test_forked_processes_agree(tmp_path):
    assert forks_agree("litdata", tmp_path)


def test_chunks_of_an_address_are_kept_in_a_folder_and_fetched_once(packed, tmp_path):
    source = LitData(path=f"local:{packed}", cache=str(tmp_path / "cache"))
    (kept,) = (tmp_path / "cache").iterdir()
    assert {path.name for path in kept.iterdir()} <= {
        INDEX,
        ".lock",
    }  # sizes and the fingerprint are there without a chunk
    assert source.fingerprint() == LitData(path=str(packed)).fingerprint()
    assert [source.size(index) for index in range(len(source))] == [image.shape[:2] for image in IMAGES.values()]
    assert same(source.read(1), IMAGES["2/../é"])
    for chunk in packed.glob("*.bin"):
        chunk.unlink()
    again = LitData(path=f"local:{packed}", cache=str(tmp_path / "cache"))
    assert all(same(again.read(index), image) for index, image in enumerate(IMAGES.values()))


class Store(http.server.SimpleHTTPRequestHandler):
    """As much of S3 as a reader asks for: HEAD and GET of objects, whole or a range of their bytes."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        data, ranged = self.data(), self.headers.get("Range")
        if data is None:
            self.answer(404, b"")
        elif ranged:
            first, last = ranged.removeprefix("bytes=").split("-")
            part = data[int(first) : int(last) + 1 if last else None]
            span = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
            self.answer(206, part, {"Content-Range": span})
        else:
            self.answer(200, data)

    def do_HEAD(self):
        data = self.data()
        self.answer(404 if data is None else 200, data or b"", body=False)

    def data(self):
        self.asked.append(self.path)
        path = Path(self.directory, self.path.partition("?")[0].removeprefix("/bucket/"))
        return path.read_bytes() if path.is_file() else None

    def answer(self, code, data, headers=None, *, body=True):
        self.send_response(code)
        fixed = {"ETag": '"1"', "Last-Modified": "Sat, 28 Nov 2026 00:00:00 GMT", "Accept-Ranges": "bytes"}
        for name, value in {**fixed, **(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *words):
        pass


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A server of this machine that speaks S3; its bucket holds what is in the folder. Its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Store, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Store.asked.clear()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_set_is_read_from_an_object_store(packed, tmp_path, store):
    cache = str(tmp_path / "cache")
    source = srkit.create("dataset", "litdata", path="s3://bucket/set", cache=cache, endpoint=store)
    for index, image in enumerate(IMAGES.values()):
        assert same(source.read(index), image)
        assert same(source.lr(2).read(index), shrunk(image, 2))
    assert source.describe() == "4 HR images in bucket/set, LR x2, x4 beside them"
    before = len(Store.asked)
    again = srkit.create("dataset", "litdata", path="s3://bucket/set", cache=cache, endpoint=store)
    assert all(same(again.read(index), image) for index, image in enumerate(IMAGES.values()))
    assert len(Store.asked) == before
    text = rejected(LitData, path="s3://bucket/none", cache=cache, endpoint=store)
    assert text.startswith("s3://bucket/none/index.json: cannot be fetched: ")


def test_an_address_without_a_cache_is_refused():
    with pytest.raises(ValueError, match="is an address: give cache = "):
        LitData(path="s3://bucket/set")


def test_what_is_no_set_of_srkits_is_named(packed, tmp_path):
    assert rejected(LitData, path=str(tmp_path / "none")) == f"{tmp_path / 'none'}: is not there"
    (tmp_path / "empty").mkdir()
    assert (
        rejected(LitData, path=str(tmp_path / "empty"))
        == f"{tmp_path / 'empty'}: has no index.json: it is no LitData set"
    )
    file = packed / INDEX
    assert rejected(LitData, path=str(file)) == f"{file}: is a file; give the folder of index.json"
    changed(packed, lambda index: {name: value for name, value in index.items() if name != "srkit"})
    reason = "has no sizes: make the set by srkit prepare SRC DST --to litdata"
    assert rejected(LitData, path=str(packed)) == f"{file}: {reason}"
    file.write_text("[1, 2")
    assert rejected(LitData, path=str(packed)) == f"{file}: is no index of LitData"


def test_an_index_that_leads_elsewhere_is_refused(packed):
    changed(packed, lambda index: index["chunks"][0].update(filename="../other.bin"))
    reason = "is no index that srkit wrote: chunks are compressed, empty or elsewhere"
    assert rejected(LitData, path=str(packed)) == f"{packed / INDEX}: {reason}"


def test_damaged_chunks_are_named(packed):
    (chunk,) = packed.glob("*.bin")
    data = chunk.read_bytes()
    chunk.write_bytes(data[:-7])
    text = rejected(LitData(path=str(packed)).read, 0)
    assert text == f"{chunk}: has {len(data) - 7:,} bytes, and the index says {len(data):,}"
    rng, read = np.random.default_rng(0), 0
    for _ in range(200):  # a number of the head or of an item is anything
        spoilt = bytearray(data)
        at = int(rng.integers(0, 5)) * 4 if rng.random() < 0.5 else int(rng.integers(0, len(data)))
        spoilt[at : at + 4] = rng.bytes(4)
        chunk.write_bytes(spoilt)
        source = LitData(path=str(packed))
        for index in range(len(source)):
            with contextlib.suppress(srkit.InputRejected):
                assert source.read(index).shape[:2] == source.size(index)
                read += 1
    assert 200 < read < 800  # some of each
    chunk.unlink()
    assert rejected(LitData(path=str(packed)).read, 0) == f"{chunk}: is not there"
