"""Numbers and settings as tables print them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from srkit.protocol import Protocol


def score_text(metric: str, value: float) -> str:
    """Return a score as the field prints it: dB with two decimals, everything else with four; never "-0.00"."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:z.2f}" if "psnr" in metric else f"{value:z.4f}"


def signed_text(metric: str, difference: float) -> str:
    """Return a difference of scores with its sign: "+0.12"; "0.00" for what rounds to zero, which has none."""
    size = score_text(metric, abs(difference))
    if float(size) == 0:
        return size
    return f"{'-' if difference < 0 else '+'}{size}"


def difference_text(metric: str, found: Mapping[str, Any] | None) -> str:
    """Return a difference with its interval, "+0.12 [+0.05, +0.20]", or nothing."""
    if found is None:
        return ""
    if found["mean"] is None:
        return "of no image"
    if not math.isfinite(found["mean"]):
        return "not finite"
    if found["low"] is None:
        return signed_text(metric, found["mean"])
    low, high = (signed_text(metric, found[bound]) for bound in ("low", "high"))
    return f"{signed_text(metric, found['mean'])} [{low}, {high}]"


def caption(protocol: dict[str, Any]) -> str:
    """Return a protocol as a line of prose."""
    try:
        return Protocol.from_tree(protocol).caption
    except TypeError:  # of another version
        return "; ".join(f"{key} {setting_text(value)}" for key, value in protocol.items())


def setting_text(value: Any) -> str:
    """Return a value as TOML writes it; "-" where it is not set."""
    if value is None:
        return "-"
    try:
        return toml_value(value)
    except TypeError:  # a date, which is TOML as it stands
        return str(value)


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str | os.PathLike):
        return json.dumps(os.fspath(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{json.dumps(str(key))} = {toml_value(member)}" for key, member in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    raise TypeError(f"TOML cannot write {value!r}")
