"""A film's frames as images at rest, with the times at which they are shown."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation
from numpy.typing import NDArray

from srkit.errors import InputRejected

Image = NDArray[Any]

# Chroma is made as large as luma by cubic interpolation, and nothing is rounded before the end.
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP

# Matrices between RGB and YUV (ITU-T H.273, table 4), as the library that converts numbers them.
_BT709, _BT601, _UNSPECIFIED, _RGB = 1, 6, 2, 0
_MATRICES = {_BT709: 1, 4: 4, 5: 5, _BT601: 5, 7: 7, 9: 9}
_LINES_OF_HD = 720  # a film that does not say its matrix is BT.709 from there, as players have it
_FULL = 2  # the range in which luma is 0..255


class Frame(NamedTuple):
    """A frame, [height, width, 3] RGB, uint8 or uint16, and when it is shown, in the film's `time_base`."""

    image: Image
    time: int


@attrs.frozen
class Colors:
    """What a film says of its colours, in the numbers of ITU-T H.273: they are written as they were read."""

    matrix: int
    primaries: int
    transfer: int
    full_range: bool

    @property
    def range(self) -> ColorRange:
        """Return the range, as it is written."""
        return ColorRange.JPEG if self.full_range else ColorRange.MPEG

    @property
    def conversion(self) -> int:
        """Return the matrix as the library numbers it that converts."""
        return _MATRICES[self.matrix]


@attrs.frozen
class Film:
    """What is known of a film before its frames are decoded.

    `subsampling` is 420, 422 or 444; `frames` is how many it says it has, or its duration does, 0 where neither is
    known. `pixel_aspect` is a pixel's width over its height. `turned` is by how many degrees players turn it.
    """

    path: Path
    width: int
    height: int
    subsampling: int
    bits: int
    colors: Colors
    rate: Fraction
    time_base: Fraction
    pixel_aspect: Fraction
    turned: int
    frames: int

    def each_frame(self, skip: int = 0, say: Callable[[str], object] = lambda line: None) -> Iterator[Frame]:
        """Yield the frames from one on; those before are decoded only. `say` is called with a line on damaged ones.

        Raises InputRejected, naming the frame, where one cannot be decoded or has another size.
        """
        number, last = 0, None
        with opened(self.path) as container:
            stream = picture_stream(container, self.path)
            stream.thread_type = "AUTO"
            step = max(1, round(1 / (self.rate * self.time_base)))
            try:
                for frame in container.decode(stream):
                    time = frame.pts if frame.pts is not None else (0 if last is None else last + step)
                    last = time if last is None else max(time, last + 1)  # no encoder takes a time twice
                    if frame.is_corrupt:
                        say(f"{self.path}: frame {number} is damaged: what the decoder made of it is taken")
                    if number >= skip:
                        yield Frame(self._pixels(frame, number), last)
                    number += 1
            except av.error.FFmpegError as error:
                reason = f"cannot be decoded from frame {number} on: {words(error)}"
                raise InputRejected(self.path, reason) from None

    def _pixels(self, frame: av.VideoFrame, number: int) -> Image:
        if (frame.width, frame.height) != (self.width, self.height):
            sizes = f"from {self.width}x{self.height} to {frame.width}x{frame.height}"
            raise InputRejected(self.path, f"changes its size at frame {number}, {sizes}: cut it there first")
        deep = self.bits > 8
        is_rgb = frame.format.is_rgb
        rgb = frame.reformat(
            format="rgb48le" if deep else "rgb24",
            src_colorspace=None if is_rgb else self.colors.conversion,
            src_color_range=None if is_rgb else self.colors.range,
            dst_color_range=ColorRange.JPEG,
            interpolation=EXACT,
        )
        return np.ascontiguousarray(rgb.to_ndarray())


def read_film(path: Path) -> Film:
    """Return what is known of a film. Raises InputRejected where it has no video stream, or no frame that is read."""
    with opened(path) as container:
        stream = picture_stream(container, path)
        try:
            frame = next(container.decode(stream), None)
        except av.error.FFmpegError as error:
            raise InputRejected(path, f"cannot be decoded: {words(error)}") from None
        if frame is None:
            raise InputRejected(path, "has a video stream, but no frame in it")
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        seconds = _seconds(container, stream)
        return Film(
            path,
            frame.width,
            frame.height,
            _subsampling(frame.format),
            max(component.bits for component in frame.format.components),
            _colors(frame, path),
            Fraction(rate),
            Fraction(stream.time_base or Fraction(1, 1000)),
            Fraction(stream.sample_aspect_ratio or 1),
            frame.rotation,
            stream.frames or round(seconds * rate),
        )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Return a file that is read. Raises InputRejected where it is not there, or no film."""
    try:
        container = av.open(os.fspath(path))
    except av.error.FFmpegError as error:
        raise InputRejected(path, f"cannot be read as a film: {words(error)}") from None
    with container:
        yield container


def picture_stream(container: Any, path: Path) -> Any:
    """Return the first video stream that is no cover. Raises InputRejected where there is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    kinds = ", ".join(dict.fromkeys(stream.type for stream in container.streams)) or "nothing"
    raise InputRejected(path, f"has no video stream: it holds {kinds}")


def words(error: Exception) -> str:
    """Return a library's error without its number and its file."""
    return str(getattr(error, "strerror", None) or error)


def _seconds(container: Any, stream: Any) -> Fraction:
    if stream.duration is not None:
        return Fraction(stream.duration * stream.time_base)
    return Fraction(container.duration or 0, av.time_base)


def _subsampling(format_: Any) -> int:
    if format_.is_rgb:
        return 444
    if len(format_.components) < 3:  # grey
        return 420
    wide, tall = format_.chroma_width(64) == 64, format_.chroma_height(64) == 64
    return 444 if wide else 422 if tall else 420


def _colors(frame: av.VideoFrame, path: Path) -> Colors:
    matrix = int(frame.colorspace)
    if frame.format.is_rgb:
        matrix = _BT709  # what it becomes YUV by
    elif matrix == _UNSPECIFIED:
        matrix = _BT709 if frame.height >= _LINES_OF_HD else _BT601
    if matrix not in _MATRICES:
        raise InputRejected(path, f"has colours by matrix {matrix} of ITU-T H.273, which is not read: convert it first")
    full = int(frame.color_range) == _FULL or frame.format.name.startswith("yuvj")
    return Colors(matrix, int(frame.color_primaries), int(frame.color_trc), full)
