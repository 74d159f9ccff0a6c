"""What a prepared dataset holds: a name for each image, and size, dtype and sha256 of its HR and LR pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NOT_JSON = (json.JSONDecodeError, UnicodeDecodeError)
FILE = "MANIFEST.json"  # where a format that is a folder keeps it
HR = "hr"
MAX_BYTES = 2**30  # a million images have about a quarter of it


def lr_side(scale: int) -> str:
    """Return the name of the LR side of a scale: "lr_x4"."""
    return f"lr_x{scale}"


@attrs.frozen
class ImageRecord:
    """One stored image: (height, width), "uint8" or "uint16", and the sha256 of its pixels."""

    size: tuple[int, int]
    dtype: str
    sha256: str

    @staticmethod
    def of(image: NDArray[Any]) -> ImageRecord:
        """Return the record of an image, [height, width, 3]; 16 bits count as little-endian on every machine."""
        pixels = image.astype(image.dtype.newbyteorder("<"), order="C", copy=False)
        digest = hashlib.sha256(pixels.data).hexdigest()
        return ImageRecord((image.shape[0], image.shape[1]), image.dtype.name, digest)


@attrs.frozen
class Shard:
    """One of several parts of a list, each the work of one machine: the parts, one behind the other, are the list."""

    number: int = 1
    of: int = 1

    def part(self, count: int) -> range:
        """Return which of so many it has."""
        return range(count * (self.number - 1) // self.of, count * self.number // self.of)

    def __str__(self) -> str:
        """Return what people write, "1/4"."""
        return f"{self.number}/{self.of}"


@attrs.frozen
class Manifest:
    """The contents of a prepared dataset.

    `sides` holds a record for each name, by "hr" and "lr_x4"...; `made` says how it came to be, for people.
    """

    names: tuple[str, ...]
    sides: Mapping[str, tuple[ImageRecord, ...]]
    made: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of names and pixels: the same images have the same in any format."""
        return self._digest()[:16]

    @property
    def scales(self) -> list[int]:
        """The scales that there are LR images of."""
        return sorted(int(side.removeprefix("lr_x")) for side in self.sides if side != HR)

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON, with a sha256 of its own."""
        return json.dumps(
            {"format": 1, "made": dict(self.made), **self._columns(), "sha256": self._digest()}, ensure_ascii=False
        ).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Manifest:
        """Return the manifest of `to_bytes`. Raises ValueError for anything else, one changed byte of it included."""
        if len(data) > MAX_BYTES:
            raise ValueError("a manifest of more than a gibibyte")
        try:
            tree = json.loads(data)
            if tree["format"] != 1:
                raise ValueError(f"a manifest of format {tree['format']}, which a newer srkit may read")
            names = tuple(map(str, tree["names"]))
            sides = {
                str(side): tuple(
                    ImageRecord((int(height), int(width)), str(dtype), str(digest))
                    for (height, width), dtype, digest in zip(
                        column["size"], column["dtype"], column["sha256"], strict=True
                    )
                )
                for side, column in tree["sides"].items()
            }
            manifest = Manifest(names, sides, dict(tree["made"]))
            whole = manifest._digest() == tree["sha256"] and manifest._is_sound()
        except (*_NOT_JSON, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"no manifest: {type(error).__name__}") from None
        if not whole:
            raise ValueError("a manifest that was changed")
        return manifest

    def _is_sound(self) -> bool:
        records = [record for side in self.sides.values() for record in side]
        return (
            HR in self.sides
            and all(len(side) == len(self.names) for side in self.sides.values())
            and all(name == HR or name in map(lr_side, range(2, 65)) for name in self.sides)
            and all(min(record.size) > 0 and record.dtype in ("uint8", "uint16") for record in records)
        )

    def _columns(self) -> dict[str, Any]:
        def column(side: Sequence[ImageRecord]) -> dict[str, Any]:
            return {
                "size": [record.size for record in side],
                "dtype": [record.dtype for record in side],
                "sha256": [record.sha256 for record in side],
            }

        return {"names": list(self.names), "sides": {name: column(side) for name, side in self.sides.items()}}

    def _digest(self) -> str:
        return hashlib.sha256(json.dumps(self._columns(), sort_keys=True).encode()).hexdigest()
