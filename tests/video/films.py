"""Little films, drawn and written by PyAV, and what is in a film."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")

RATE = Fraction(24000, 1001)
TICKS = Fraction(1, 24000)


def times(count: int, *, variable: bool = False) -> list[int]:
    """Return when frames are shown, in ticks of 1/24000 s; variable: every fifth one a third of a frame late."""
    return [number * 1001 + (333 if variable and number % 5 == 2 else 0) for number in range(count)]


def save_film(
    path: Path,
    *,
    count: int = 12,
    size: tuple[int, int] = (24, 32),
    codec: str = "libx264",
    format: str = "yuv420p",
    colors: tuple[int, int, int, int] = (1, 1, 1, 1),
    variable: bool = False,
    sound: int = 0,
    subtitles: str = "",
    aspect: Fraction = Fraction(1),
    ticks: Fraction = TICKS,
) -> Path:
    """Write a film of moving noise; `colors` are matrix, primaries, transfer and range as H.273 numbers them."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=RATE, options={"crf": "8"} if codec == "libx264" else {})
        video.width, video.height, video.pix_fmt = size[1], size[0], format
        context = video.codec_context
        context.time_base, context.sample_aspect_ratio = ticks, aspect
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = colors
        tracks = [container.add_stream("aac", rate=16000) for _ in range(sound)]
        for track, language in zip(tracks, ("deu", "eng"), strict=False):
            track.metadata["language"] = language
        texts = container.add_mux_stream(subtitles, time_base=Fraction(1, 1000)) if subtitles else None
        container.start_encoding()
        for time in times(count, variable=variable):
            frame = noise(rng, size, format)
            frame.pts, frame.time_base = time, TICKS
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for track in tracks:
            for number in range(8):
                samples = rng.standard_normal((1, 1024)).astype(np.float32) / 10
                heard = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                heard.sample_rate, heard.pts, heard.time_base = 16000, number * 1024, Fraction(1, 16000)
                container.mux(track.encode(heard))
            container.mux(track.encode())
        for number, text in enumerate((b"one", b"two") if texts else ()):
            data = len(text).to_bytes(2, "big") + text if subtitles == "mov_text" else text
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = texts, Fraction(1, 1000), True
            packet.pts = packet.dts = number * 200
            packet.duration = 200
            container.mux(packet)
    return path


def noise(rng: np.random.Generator, size: tuple[int, int], format: str) -> Any:
    """Return a frame of coloured squares, as values of that pixel format, in the range that television has."""
    frame = av.VideoFrame(size[1], size[0], format)
    for number, (plane, part) in enumerate(zip(frame.planes, frame.format.components, strict=False)):
        deep = part.bits > 8
        low, high = (64, 940) if deep else (60, 190)  # of 8 bits, what no matrix takes out of RGB's cube by much
        if number > 0:
            low, high = (480, 544) if deep else (120, 136)
        rows, columns = plane.height, plane.line_size // (2 if deep else 1)
        values = rng.integers(low, high, (-(-rows // 4), -(-columns // 4))).repeat(4, 0).repeat(4, 1)[:rows, :columns]
        plane.update(np.ascontiguousarray(values.astype("<u2" if deep else "u1")).tobytes())
    return frame


def decoded(path: Path) -> list[tuple[Fraction, list[np.ndarray]]]:
    """Return a film's frames: when each is shown, in seconds, and its planes."""
    with av.open(str(path)) as container:
        return [(frame.pts * frame.time_base, planes(frame)) for frame in container.decode(video=0)]


def planes(frame: Any) -> list[np.ndarray]:
    found = []
    for plane, part in zip(frame.planes, frame.format.components, strict=True):
        wide = 2 if part.bits > 8 else 1
        values = np.frombuffer(plane, "<u2" if wide == 2 else "u1").reshape(plane.height, plane.line_size // wide)
        found.append(values[:, : plane.width].astype(int))
    return found


def seconds(path: Path) -> list[Fraction]:
    return [time for time, _ in decoded(path)]


def same_frames(path: Path, other: Path) -> bool:
    """Say whether two films have the same frames at the same times."""
    first, second = decoded(path), decoded(other)
    return len(first) == len(second) and all(
        time == at and all(map(np.array_equal, one, two)) for (time, one), (at, two) in zip(first, second, strict=True)
    )


def packets(path: Path, number: int) -> list[tuple[bytes, float]]:
    """Return the packets of a stream, each with its time in seconds."""
    with av.open(str(path)) as container:
        found = container.demux(container.streams[number])
        return [(bytes(packet), float(packet.pts * packet.time_base)) for packet in found if packet.size]
