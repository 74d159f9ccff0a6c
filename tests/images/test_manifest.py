import hashlib
import json

import numpy as np
import pytest

from srkit import ImageRecord, Manifest
from srkit.images.manifest import lr_side
from tests.conftest import photograph


def make(**sides):
    hr = photograph(1, 8, 12)
    records = {"hr": (ImageRecord.of(hr), ImageRecord.of(hr[:4]))}
    return Manifest(("a", "b"), {**records, **sides}, {"crop": 8})


def test_a_record_is_the_sha256_of_the_pixels_row_by_row():
    image = photograph(3, 6, 10)
    record = ImageRecord.of(image)
    assert record == ImageRecord((6, 10), "uint8", hashlib.sha256(image.tobytes()).hexdigest())
    wide = np.pad(image, ((0, 0), (2, 2), (0, 0)))
    assert ImageRecord.of(wide[:, 2:-2]) == record  # a view into another image


def test_sixteen_bits_have_the_same_record_in_either_byte_order():
    image = photograph(3, 6, 10).astype(np.uint16) * 257
    assert ImageRecord.of(image.astype(">u2")) == ImageRecord.of(image)
    assert ImageRecord.of(image).dtype == "uint16"


def test_a_manifest_reads_back():
    manifest = make(lr_x2=make().sides["hr"])
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert manifest.scales == [2]
    assert lr_side(4) == "lr_x4"


def test_the_fingerprint_is_that_of_names_and_pixels_alone():
    manifest = make()
    other_way = Manifest(manifest.names, manifest.sides, {"crop": 0})
    other_name = Manifest(("a", "c"), manifest.sides, {"crop": 8})
    assert manifest.fingerprint == other_way.fingerprint != other_name.fingerprint
    assert len(manifest.fingerprint) == 16


def test_any_changed_byte_that_matters_is_noticed():
    data = make().to_bytes()
    start = data.index(b'"names"')
    for place in range(start, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 1
        try:
            manifest = Manifest.from_bytes(bytes(changed))
        except ValueError:
            continue
        assert manifest == make()  # white space, say


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], "no manifest: TypeError"),
        ({}, "no manifest: KeyError"),
        (
            {"format": 1, "names": ["a"], "sides": {"hr": {"size": [[1e999, 1]], "dtype": ["uint8"], "sha256": [""]}}},
            "no manifest: OverflowError",
        ),
        ({"format": 2}, "a manifest of format 2, which a newer srkit may read"),
    ],
)
def test_what_is_no_manifest_is_told(tree, message):
    with pytest.raises(ValueError, match="manifest") as error:
        Manifest.from_bytes(json.dumps(tree).encode())
    assert str(error.value) == message


@pytest.mark.parametrize(
    "sides",
    [
        {"lr_x2": ()},
        {"lr_x2": (ImageRecord((4, 6), "float32", "0"), ImageRecord((2, 6), "uint8", "0"))},
        {"lr_x2": (ImageRecord((0, 6), "uint8", "0"), ImageRecord((2, 6), "uint8", "0"))},
        {"../lr": make().sides["hr"]},
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(sides):
    with pytest.raises(ValueError, match="changed") as error:
        Manifest.from_bytes(make(**sides).to_bytes())
    assert str(error.value) == "a manifest that was changed"


@pytest.mark.parametrize(("data", "name"), [(b"{", "JSONDecodeError"), (b"\xff{", "UnicodeDecodeError")])
def test_what_is_no_json_is_told(data, name):
    with pytest.raises(ValueError, match="manifest") as error:
        Manifest.from_bytes(data)
    assert str(error.value) == f"no manifest: {name}"
