"""A film put together: the coded frames, and everything else that the source has."""

from __future__ import annotations

import heapq
import io
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from srkit.errors import UsageError
from srkit.video.coding import Coding
from srkit.video.film import opened, picture_stream
from srkit.video.parts import Parts

FORMATS = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov"}
_STALE = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}  # of the source's file, not ours
_TEXT = "mov_text"  # subtitles of MP4, which Matroska does not hold: there the same text is SubRip's


def refuse_what_it_cannot_hold(coding: Coding, suffix: str) -> None:
    """Raise UsageError where a container of this suffix cannot hold the codec, or a stream of the source."""
    with opened(coding.film.path) as source, av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as target:
        _streams(source, target, coding, suffix)


def join(parts: Parts, coding: Coding, path: Path, suffix: str) -> None:
    """Write a film of its parts, with the source's sound, subtitles, attachments, chapters and tags. Raises OSError."""
    with opened(coding.film.path) as source, av.open(os.fspath(path), "w", format=FORMATS[suffix]) as target:
        picture, others = _streams(source, target, coding, suffix)
        target.metadata.update(_tags(source.metadata))
        target.set_chapters(source.chapters())
        target.start_encoding()
        frames = _frames(parts, coding, picture)
        for _, packet in heapq.merge(frames, _copied(source, others), key=lambda timed: timed[0]):
            target.mux(packet)


def _streams(source: Any, target: Any, coding: Coding, suffix: str) -> tuple[Any, dict[int, Any]]:
    """Return the stream of the frames, and by their number in the source those of what is copied."""
    film = picture_stream(source, coding.film.path)
    try:
        picture = target.add_stream(coding.codec.encoder, rate=coding.film.rate, time_base=coding.film.time_base)
    except ValueError:
        raise UsageError(f"a {suffix} file does not hold {coding.codec.name}: write a .mkv") from None
    coding.configure(picture.codec_context)
    picture.metadata.update(_tags(film.metadata))
    picture.disposition = film.disposition
    if coding.film.turned:
        picture.set_display_rotation(coding.film.turned)
    others = {}
    for stream in source.streams:
        if stream.type in ("audio", "subtitle", "attachment"):
            try:
                others[stream.index] = _like(stream, target, suffix)
            except ValueError:
                codec = stream.codec_context.name if stream.codec_context else stream.type
                raise UsageError(
                    f"a {suffix} file does not hold stream {stream.index} of {coding.film.path}, {stream.type} "
                    f"({codec}): write a .mkv"
                ) from None
    return picture, others


def _like(stream: Any, target: Any, suffix: str) -> Any:
    """Return a stream of the target for one that is copied. Raises ValueError where its container cannot hold it."""
    if _is_text(stream) and suffix == ".mkv":
        made = target.add_mux_stream("subrip", time_base=stream.time_base)
    else:
        made = target.add_stream_from_template(stream, opaque=True)
    made.metadata.update(_tags(stream.metadata))
    if stream.type != "attachment":
        made.disposition = stream.disposition
    return made


def _is_text(stream: Any) -> bool:
    return stream.type == "subtitle" and stream.codec_context is not None and stream.codec_context.name == _TEXT


def _tags(metadata: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in metadata.items() if name.lower() not in _STALE}


def _frames(parts: Parts, coding: Coding, stream: Any) -> Iterator[tuple[Fraction, Any]]:
    """Yield the packets of the frames, each with when it is decoded.

    Encoders began anew with each part; so the times of decoding are those of showing in their order, as much earlier
    as the most delayed frame needs.
    """
    times = parts.times()
    order = sorted(times)
    place = {time: number for number, time in enumerate(order)}
    delay = max((number - place[time] for number, time in enumerate(times)), default=0)
    step = max(1, round(1 / (coding.film.rate * coding.film.time_base)))
    shown = [*order[1:], order[-1] + step] if order else []
    for number, coded in enumerate(parts.packets()):
        packet = av.Packet(coded.data)
        packet.stream, packet.time_base = stream, coding.film.time_base
        packet.pts, packet.is_keyframe = coded.time, coded.is_key
        packet.dts = order[number - delay] if number >= delay else order[0] - (delay - number) * step
        packet.duration = shown[place[coded.time]] - coded.time
        yield packet.dts * coding.film.time_base, packet


def _copied(source: Any, streams: dict[int, Any]) -> Iterator[tuple[Fraction, Any]]:
    """Yield the packets of the streams that are copied, each with its time."""
    wanted = [source.streams[number] for number in streams if source.streams[number].type != "attachment"]
    if not wanted:
        return
    last = Fraction(0)
    for packet in source.demux(wanted):
        stream = packet.stream
        if not packet.size:
            continue
        time = packet.dts if packet.dts is not None else packet.pts
        last = last if time is None else time * packet.time_base
        target = streams[stream.index]
        if _is_text(stream) and target.codec_context is None:  # it becomes another codec's
            text = _text(bytes(packet))
            if not text:  # where nothing is shown, MP4 has an empty text
                continue
            copied = av.Packet(text)
            copied.pts, copied.dts, copied.duration = packet.pts, packet.dts, packet.duration
            copied.time_base, copied.is_keyframe = packet.time_base, True
            packet = copied
        packet.stream = target
        yield last, packet


def _text(sample: bytes) -> bytes:
    """Return the text of a subtitle of MP4: its length in two bytes, and then itself (3GPP TS 26.245, 5.17)."""
    return sample[2 : 2 + int.from_bytes(sample[:2], "big")]
