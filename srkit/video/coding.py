"""Which codec writes a film, how well, and in which pixel format."""

from __future__ import annotations

import os
from typing import Any

import attrs
import av
from av.video.reformatter import ColorRange

from srkit.errors import UsageError
from srkit.video.film import EXACT, Film, Image

USUAL_QUALITY = 65  # x264's CRF 18, which is often called visually lossless


@attrs.frozen
class Codec:
    """An encoder, the pixel formats that it takes as (subsampling, bits), and the CRF of quality 0, if it has one."""

    name: str
    encoder: str
    formats: tuple[tuple[int, int], ...]
    worst: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    own_shape: bool = False  # whether its stream says that pixels are not square


def _each(subsamplings: tuple[int, ...], bits: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((subsampling, each) for subsampling in subsamplings for each in bits)


_ALL = (420, 422, 444)
CODECS = {
    codec.name: codec
    for codec in (
        # Otherwise x264's assembly makes other bytes of the same frames in each run (seen with PyAV 18.1).
        Codec("h264", "libx264", _each(_ALL, (8, 10)), 51, (("x264-params", "cpu-independent=1"),), own_shape=True),
        Codec("hevc", "libx265", _each(_ALL, (8, 10, 12)), 51, (("x265-params", "log-level=error"),), own_shape=True),
        Codec("av1", "libsvtav1", _each((420,), (8, 10)), 63, (("preset", "6"),)),
        Codec("ffv1", "ffv1", _each(_ALL, (8, 10, 12, 16)), options=(("level", "3"),)),
        Codec("prores", "prores_ks", _each((422, 444), (10,))),
    )
}


@attrs.frozen
class Coding:
    """How the frames of a film are written: the codec, the pixel format, the size, the encoder's options."""

    film: Film
    codec: Codec
    width: int
    height: int
    format: str
    options: tuple[tuple[str, str], ...]

    def configure(self, context: Any) -> None:
        """Give an encoder, or the stream of one, its settings."""
        context.width, context.height, context.pix_fmt = self.width, self.height, self.format
        context.time_base = self.film.time_base
        context.framerate = self.film.rate
        context.sample_aspect_ratio = self.film.pixel_aspect
        colors = self.film.colors
        context.colorspace, context.color_range = colors.matrix, int(colors.range)
        context.color_primaries, context.color_trc = colors.primaries, colors.transfer
        context.options = dict(self.options)

    def frame(self, image: Image, time: int) -> av.VideoFrame:
        """Return an image at rest as a frame that the encoder takes."""
        rgb = av.VideoFrame.from_ndarray(image, format="rgb48le" if image.itemsize == 2 else "rgb24")
        frame = rgb.reformat(
            format=self.format,
            dst_colorspace=self.film.colors.conversion,
            src_color_range=ColorRange.JPEG,
            dst_color_range=self.film.colors.range,
            interpolation=EXACT,
        )
        frame.pts, frame.time_base = time, self.film.time_base
        return frame


def coding_for(film: Film, width: int, height: int, *, codec: str | None, quality: int | None, suffix: str) -> Coding:
    """Return how a film is written whose frames have become so large.

    Without a codec it is h264, hevc for more than 8 bits and ffv1 for more than 12. Raises UsageError for what the
    codec cannot hold.
    """
    chosen = CODECS[codec or ("h264" if film.bits <= 8 else "hevc" if film.bits <= 12 else "ffv1")]
    if chosen.encoder not in av.codecs_available:
        raise UsageError(f"--codec {chosen.name} needs {chosen.encoder}, which this PyAV was built without")
    formats = [pair for pair in chosen.formats if pair[0] >= film.subsampling and pair[1] >= film.bits]
    if not formats:
        raise UsageError(
            f"--codec {chosen.name} does not hold {_chroma(film.subsampling)} with {film.bits} bits, which "
            f"{film.path} has; --codec ffv1 holds it"
        )
    subsampling, bits = min(formats)
    if chosen.name == "hevc" and max(width, height) < 64:  # where x265 writes over memory that is not its own
        raise UsageError(f"{film.path} would become {width}x{height}, and hevc needs a side of 64 pixels: take h264")
    if chosen.name != "ffv1":
        _refuse_odd(film, width, height, subsampling, chosen.name)
    if film.pixel_aspect != 1 and not chosen.own_shape and suffix == ".mkv":
        raise UsageError(
            f"{film.path} has pixels of {film.pixel_aspect.numerator}:{film.pixel_aspect.denominator}, which --codec "
            f"{chosen.name} does not keep in a .mkv: take h264 or hevc"
        )
    return Coding(
        film,
        chosen,
        width,
        height,
        f"yuv{subsampling}p{'' if bits == 8 else f'{bits}le'}",
        (*chosen.options, *_rate_factor(chosen, quality)),
    )


def _rate_factor(codec: Codec, quality: int | None) -> tuple[tuple[str, str], ...]:
    """Return the encoder's option for a quality, 1 to 100: the CRF falls from the worst to 1 in equal steps."""
    if codec.worst is None:
        if quality is not None:
            what = "is lossless" if codec.name == "ffv1" else "has one quality"
            raise UsageError(f"--codec {codec.name} {what}: leave --quality out")
        return ()
    crf = round(codec.worst * (1 - (quality or USUAL_QUALITY) / 100))
    return (("crf", str(max(crf, 1))),)


def _refuse_odd(film: Film, width: int, height: int, subsampling: int, codec: str) -> None:
    odd_width, odd_height = subsampling != 444 and width % 2, subsampling == 420 and height % 2
    if odd_width or odd_height:
        raise UsageError(
            f"{film.path} would become {width}x{height}, and {codec} has even sides for {_chroma(subsampling)}; "
            "--codec ffv1 holds odd ones"
        )


def _chroma(subsampling: int) -> str:
    return ":".join(str(subsampling))


def encoder_of(coding: Coding) -> Any:
    """Return an encoder of its own, open: the same settings make the same headers."""
    os.environ.setdefault("SVT_LOG", "1")  # errors alone: SVT-AV1 writes to stderr by itself
    context: Any = av.CodecContext.create(coding.codec.encoder, "w")
    coding.configure(context)
    context.flags |= av.codec.context.Flags.global_header  # as containers want it
    context.open()
    return context
