"""A film enlarged part by part, each written before the next begins."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av

from srkit import files
from srkit.errors import InputRejected, RunFailed
from srkit.video.coding import Coding, encoder_of
from srkit.video.film import Frame, Image, words
from srkit.video.joining import join
from srkit.video.parts import Packet, Parts

Enlarge = Callable[[Sequence[Image]], Sequence[Image]]  # images of one size to larger ones


def enlarge_film(
    coding: Coding,
    parts: Parts,
    target: Path,
    enlarge: Enlarge,
    *,
    together: int,
    length: int,
    done: Callable[[int], None] = lambda frames: None,
    say: Callable[[str], object] = lambda line: None,
) -> int:
    """Write a film with its frames enlarged, and return how many these are; `parts`, which are held, are removed.

    `together` frames are given to `enlarge` at once; `length` are a part, and those of whole parts are not enlarged
    again. `done(frames)` hears how many are, after each batch, and may raise; `say` is called
    with a line on damaged frames. Raises InputRejected for the film, or for
    a frame that `enlarge` refuses by ValueError; RunFailed where the disk does not take it.
    """
    number, count = parts.count(), len(parts.times())
    frames = coding.film.each_frame(count, say)
    try:
        while first := list(itertools.islice(frames, 1)):
            batches = _batches(itertools.chain(first, itertools.islice(frames, length - 1)), together)

            def larger(batches: Iterator[list[Frame]] = batches) -> Iterator[Frame]:
                nonlocal count
                for batch in batches:
                    yield from _enlarged(coding, batch, enlarge, count)
                    count += len(batch)
                    done(count)

            parts.write(number, _packets(coding, larger()))
            number += 1
        whole = parts.path / f"whole{target.suffix}"
        files.about_to("write", whole)
        join(parts, coding, whole, target.suffix.lower())
        files.sync_tree(whole)
        files.rename(whole, target)
        files.sync_directory(target.parent)
        files.remove_directory(parts.path)
    except (OSError, av.error.FFmpegError) as error:
        raise RunFailed(
            f"{target}: cannot be written: {words(error)}; what is enlarged is in {parts.path}, and the same command "
            "continues"
        ) from None
    finally:
        frames.close()  # type: ignore[attr-defined]
    return count


def _batches(frames: Iterator[Frame], together: int) -> Iterator[list[Frame]]:
    while batch := list(itertools.islice(frames, together)):
        yield batch


def _enlarged(coding: Coding, batch: list[Frame], enlarge: Enlarge, count: int) -> Iterator[Frame]:
    try:
        images = enlarge([frame.image for frame in batch])
    except ValueError as error:
        raise InputRejected(coding.film.path, f"frame {count} or one behind it: {error}") from None
    for image, frame in zip(images, batch, strict=True):
        yield Frame(image, frame.time)


def _packets(coding: Coding, frames: Iterator[Frame]) -> Iterator[Packet]:
    encoder = encoder_of(coding)
    for frame in itertools.chain(frames, [None]):  # without a frame, it gives what it has kept
        for packet in encoder.encode(None if frame is None else coding.frame(frame.image, frame.time)):
            yield Packet(bytes(packet), packet.pts, packet.is_keyframe)
