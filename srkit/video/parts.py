"""Parts of a film that are enlarged already: a killed command goes on behind the last one.

A part is a file of packets, one behind the other, and an index with the size and the time of each. The index is written
last, so a part that has one is whole.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import filelock

from srkit import files
from srkit.errors import RunFailed, UsageError

_JOB = "job.json"


@attrs.frozen
class Packet:
    """A coded frame: its bytes, when it is shown in the film's `time_base`, and whether it needs no other frame."""

    data: bytes
    time: int
    is_key: bool


@attrs.frozen
class Parts:
    """The folder of a film's parts; `job` is what they were made by."""

    path: Path
    job: Mapping[str, Any]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, or go on with the one that is there, and hold its lock.

        Raises UsageError where another process does, or where the folder is another job's; RunFailed for a disk.
        """
        try:
            files.make_directory(self.path)
            with filelock.FileLock(self.path / ".lock", timeout=0):
                self._begin()
                yield
        except filelock.Timeout:
            raise UsageError(f"another process is enlarging this film, in {self.path}: wait for it") from None
        except OSError as error:
            raise RunFailed(f"{error.filename or self.path}: {error.strerror}") from None

    def _begin(self) -> None:
        files.clean(self.path)
        place = self.path / _JOB
        if not place.exists():
            files.write_file(place, files.json_text(dict(self.job)).encode())
            return
        before = json.loads(place.read_bytes())
        for name in self.job:
            if before.get(name) != self.job[name]:
                raise UsageError(
                    f"{self.path} holds frames of another command: {name} was {before.get(name)}, and is "
                    f"{self.job[name]}; give that again, or remove the folder"
                )

    def count(self) -> int:
        """Return how many parts are whole, from the first on."""
        number = 0
        while self._index(number).exists():
            number += 1
        return number

    def write(self, number: int, packets: Iterable[Packet]) -> None:
        """Write a part. Raises OSError, and what making a packet raises."""
        index: list[tuple[int, int, bool]] = []

        def data() -> Iterator[bytes]:
            for packet in packets:
                index.append((len(packet.data), packet.time, packet.is_key))
                yield packet.data

        files.write_file(self._data(number), data())
        files.write_file(self._index(number), json.dumps(index).encode())

    def times(self) -> list[int]:
        """Return when each packet is shown, in the order of the packets."""
        return [time for number in range(self.count()) for _, time, _ in self._entries(number)]

    def packets(self) -> Iterator[Packet]:
        """Yield all packets, one by one from the disk."""
        for number in range(self.count()):
            with open(self._data(number), "rb") as file:
                for size, time, is_key in self._entries(number):
                    yield Packet(file.read(size), time, is_key)

    def _entries(self, number: int) -> list[tuple[int, int, bool]]:
        entries: list[tuple[int, int, bool]] = json.loads(self._index(number).read_bytes())
        return entries

    def _data(self, number: int) -> Path:
        return self.path / f"{number:06d}.packets"

    def _index(self, number: int) -> Path:
        return self.path / f"{number:06d}.json"
