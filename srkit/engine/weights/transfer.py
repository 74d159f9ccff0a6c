"""Weights taken by name: what a network takes of a file, and which of its parameters may be new."""

from __future__ import annotations

import glob
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import attrs
from torch import Tensor, nn

from srkit.errors import InputRejected, escaped, nearest

AVERAGE = re.compile(r"[-_.]ema\b|\bema[-_.]", re.IGNORECASE)  # in the key of a moving average

Shapes = Mapping[str, Sequence[int]]

MOST = 8  # names of a kind that a message lists
LONGEST = 1_000  # characters of a line to paste; a recipe's lines end at 1,024


@attrs.frozen
class Transfer:
    """The number of values of each tensor that is taken and of each that is fresh, by name, in the network's order."""

    taken: Mapping[str, int]
    fresh: Mapping[str, int]

    def line(self, source: str | os.PathLike[str]) -> str:
        """Return "taken 172 tensors (1,036,443 values) of x2.pt, fresh 6 (11,016): HRconv2.*, att2.*, upconv2.*"."""
        text = f"taken {len(self.taken)} tensors ({sum(self.taken.values()):,} values) of {os.fspath(source)}"
        if self.fresh:
            groups = _groups(self.fresh, self.taken)
            more = f" and {len(groups) - MOST} more" if len(groups) > MOST else ""
            shown = ", ".join(groups[:MOST])
            text += f", fresh {len(self.fresh)} ({sum(self.fresh.values()):,}): {shown}{more}"
        return text


def plan(
    own: Shapes,
    found: Shapes,
    source: str | os.PathLike[str],
    what: str,
    *,
    fresh: Sequence[str] | None = (),
    others: Mapping[str, Shapes] | None = None,
) -> Transfer:
    """Return what a network takes of a file, by name alone; `own` and `found` are shapes by name, buffers among them.

    All of the file's tensors must be the network's, and all of the network's must be in the file with their shape,
    but for those that match a pattern of `fresh`, "upconv2.*": these are taken where they fit. With None nothing may
    ever be new, and errors do not offer it. Every pattern must match a parameter, and something must be taken.
    `what` is the network in words: "'a2n' at scale 4"; `others` are more networks of the file, by their keys, which
    errors name where they fit. Raises InputRejected, on several lines, with all that is wrong.
    """
    patterns = fresh or ()
    allowed = {name for name in own if any(fnmatchcase(name, pattern) for pattern in patterns)}
    taken = {name: math.prod(own[name]) for name in own if name in found and tuple(found[name]) == tuple(own[name])}
    wrong = [name for name in own if name not in taken and name not in allowed]
    missing = [name for name in wrong if name not in found]
    left_over = [name for name in found if name not in own]
    unmatched = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in own)]
    if not (wrong or left_over or unmatched) and taken:
        return Transfer(taken, {name: math.prod(own[name]) for name in own if name not in taken})

    def reshaped(name: str) -> str:
        return f"{_shown(name)} is {list(found[name])} in the file, {list(own[name])} in the network"

    def renamed(name: str) -> str:
        return _shown(name) + _did_you_mean(name, missing)

    def mistyped(pattern: str) -> str:
        return f"'{_shown(pattern)}'" + _did_you_mean(pattern, dict.fromkeys([*own, *_patterns(own)]))

    kinds: list[tuple[str, list[str], Callable[[str], str]]] = [
        ("missing", missing, _shown),
        ("left over", left_over, renamed),
        ("of another shape", [name for name in wrong if name in found], reshaped),
        ("unmatched in fresh", unmatched, mistyped),
    ]
    verdict = f"does not fit {what}" if wrong or left_over or not taken else f"fits {what}, but not with this fresh"
    counts = ", ".join(f"{len(names)} {kind}" for kind, names, _ in kinds if names)
    lines = [f"{verdict}: {'; '.join(filter(None, [counts, '' if taken else 'nothing of it would be taken']))}"]
    for kind, names, told in kinds:
        lines += [f"  {kind}: {told(name)}" for name in names[:MOST]]
        lines += [f"  {kind}: and {len(names) - MOST} more"] if len(names) > MOST else []
    lines += _elsewhere(own, found, missing)
    lines += _other_keys(own, others or {})
    if wrong and taken and fresh is not None:
        lines += _line_to_paste(wrong, own, [pattern for pattern in patterns if pattern not in unmatched])
    if wrong and taken and left_over and fresh is not None:
        lines += ["  what is left over is never dropped: it must be given its place in the file, or be taken out of it"]
    raise InputRejected(source, "\n".join(lines))


def load_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    source: str | os.PathLike[str],
    what: str,
    *,
    fresh: Sequence[str] | None = (),
) -> Transfer:
    """Give a network the weights of a file as `plan` has it, and return the plan; what is fresh stays as it is.

    Raises InputRejected as `plan` does; the network is untouched then.
    """
    own = network.state_dict()
    transfer = plan(
        {name: tensor.shape for name, tensor in own.items()},
        {name: tensor.shape for name, tensor in weights.items()},
        source,
        what,
        fresh=fresh,
        others=getattr(weights, "others", None),
    )
    whole = [name for name in transfer.taken if _is_whole(weights[name]) and not _is_whole(own[name])]
    if whole:
        dtype = str(weights[whole[0]].dtype).removeprefix("torch.")
        found = f"{len(whole)} of its tensors hold whole numbers, {_shown(whole[0])} of {dtype} first"
        raise InputRejected(source, f"{found}: quantised weights are not read")
    network.load_state_dict({name: weights[name] if name in transfer.taken else own[name] for name in own})
    return transfer


def _is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex())


def _elsewhere(own: Shapes, found: Shapes, missing: Sequence[str]) -> list[str]:
    """Return a line on where in the file all that is missing would be, if anywhere: "netG.", its average first."""
    first = next(iter(missing), None)
    fitting = []
    for prefix in [name.removesuffix(f".{first}") for name in found if first and name.endswith(f".{first}")]:
        there = {name: found.get(f"{prefix}.{name}") for name in missing}
        if all(shape is not None and tuple(shape) == tuple(own[name]) for name, shape in there.items()):
            fitting.append(prefix)
    return [f"  all that is missing is under {_keys(fitting)}, in a recipe start.key"] if fitting else []


def _other_keys(own: Shapes, others: Mapping[str, Shapes]) -> list[str]:
    """Return a line on the other networks of a file that fit, if any."""
    if not others:
        return []
    shapes = {name: tuple(shape) for name, shape in own.items()}
    fitting = [key for key, found in others.items() if {name: tuple(shape) for name, shape in found.items()} == shapes]
    return [f"  what fits is under {_keys(fitting)}, in a recipe start.key"] if fitting else []


def _keys(names: Iterable[str]) -> str:
    """Return "netG_ema: --key netG_ema, or under netG: --key netG", moving averages first."""
    ordered = sorted(names, key=lambda name: (AVERAGE.search(name) is None, name))
    return ", or under ".join(f"{_shown(name)}: --key {_shown(name)}" for name in ordered[:MOST])


def _line_to_paste(wrong: Iterable[str], own: Iterable[str], patterns: Sequence[str]) -> list[str]:
    wrong = set(wrong)
    exact = _groups(wrong, [name for name in own if name not in wrong])
    wide = sorted({next(_patterns([name]), glob.escape(name)) for name in wrong})  # allowed also where it is taken
    for groups in (exact, wide):
        quoted = (json.dumps(pattern, ensure_ascii=False) for pattern in dict.fromkeys([*patterns, *groups]))
        text = f"fresh = [{', '.join(quoted)}]"
        if len(text) <= LONGEST:
            return [f"  if these may be new, under [start]: {text}"]
    return []


def _groups(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """Return sorted patterns that match these names and none of the others; the highest modules, never "*"."""
    mixed = set(_patterns(others))
    return sorted({next((p for p in _patterns([name]) if p not in mixed), glob.escape(name)) for name in names})


def _patterns(names: Iterable[str]) -> Iterator[str]:
    """Yield "body.*" and "body.0.*" of the name "body.0.weight"."""
    for name in names:
        parts = name.split(".")
        yield from (f"{glob.escape('.'.join(parts[:end]))}.*" for end in range(1, len(parts)))


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    near = nearest(name, names)
    return "" if near is None else f" (did you mean {_shown(near)}?)"


def _shown(name: str) -> str:
    name = escaped(name)
    return name if len(name) <= 100 else f"{name[:97]}..."
