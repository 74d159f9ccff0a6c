"""Which LR image belongs to which HR image, by what both are called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

# What LR is called after its HR image, the usual ones first; a folder keeps to one of these. {base} is HR's name
# without its "_HR".
FORMS = (
    "{name}",
    "{name}x{scale}",
    "{name}_SRF_{scale}_LR",
    "{name}_x{scale}",
    "{name}X{scale}",
    "{name}_X{scale}",
    "{name}x{scale}m",
    "{name}x{scale}d",
    "{name}_bicLRx{scale}",
    "{name}_LRx{scale}",
    "{base}_LR{scale}",
    "{base}_LR",
)
_SHOWN = 3
_LR_LIKE = re.compile(r"(x\d+[md]?|LR\d*)$", re.IGNORECASE)
_PATTERNS = tuple(
    re.compile(
        re.escape(form)
        .replace(r"\{name\}", "(?P<name>.+)")
        .replace(r"\{base\}", "(?P<name>.+)")
        .replace(r"\{scale\}", r"(?P<scale>\d+)")
    )
    for form in FORMS[1:]
)


@attrs.frozen
class Pairing:
    """The LR image of each HR image that has one, by HR's name; those without one; and LR images that belong to none.

    `looked_for` are the names that the first HR image without one was looked for by; `rival` says which other LR image
    fits as well, for people, or "".
    """

    lr: Mapping[str, str]
    unpaired: Sequence[str]
    extra: Sequence[str]
    looked_for: Sequence[str]
    rival: str = ""

    def reason(self, total: int, called: Callable[[str], str] = str) -> str:
        """Return why there are no pairs, what was looked for, what is there; `called` gives the name of HR's file."""
        missing = first([called(name) for name in self.unpaired])
        there = f"left over there: {first(self.extra)}" if self.extra else "nothing is left over there"
        looked = " or ".join(self.looked_for)
        return f"has no LR image for {len(self.unpaired)} of {total} HR images: {missing}; looked for {looked}; {there}"


def pair(names: Sequence[str], stems: Iterable[str], scale: int, form: str = "") -> Pairing:
    """Pair HR names with the names of LR images at a scale, which compare equal in any of Unicode's forms.

    `form` says what LR is called, "{name}_x{scale}"; without one it is the usual one that fits most.
    """
    exact = dict.fromkeys(stems)
    same = {nfc(stem): stem for stem in exact}
    found: list[dict[str, str]] = []
    for each in [form] if form else FORMS:
        (before, end), based = _around(each, scale), "{base}" in each
        fits: dict[str, str] = {}
        # Most forms fit nothing, as the ends of the names tell.
        if not end or any(stem.endswith(end) for stem in exact):
            for name in names:
                stem = f"{before}{_base(name) if based else name}{end}"
                if (own := stem if stem in exact else same.get(nfc(stem))) is not None:
                    fits[name] = own
        found.append(fits)
    best = max(found, key=len)
    used = set(best.values())
    unpaired = [name for name in names if name not in best]
    looked_for: list[str] = []
    if unpaired:
        tried = [form] if form else [FORMS[found.index(best)]] if best else list(FORMS)
        looked_for = list(dict.fromkeys(_called(each, unpaired[0], scale) for each in tried))
        if len(looked_for) > _SHOWN + 1:
            looked_for = [*looked_for[:2], _called(FORMS[3], unpaired[0], scale), "the like"]
    rival = ""
    if best and best is not found[0]:
        others = [fits for fits in found if fits is not best and len(fits) == len(best)]
        if others:
            name = next(iter(best))
            rival = f"{best[name]} and {next(iter(others[0].values()))}"
    return Pairing(best, unpaired, [stem for stem in exact if stem not in used], looked_for, rival)


def split_pairs(
    stems: Sequence[str], size: Callable[[str], tuple[int, int]], scales: Sequence[int]
) -> dict[int, dict[str, str]]:
    """Return the LR images, by scale and HR's name, of a folder that holds HR and LR.

    An image is LR where it is called after another one and is smaller than that; where its name states no scale, the
    sizes say it.
    """
    names = {nfc(stem): stem for stem in stems}
    found: dict[int, dict[str, str]] = {}
    for stem in stems:
        if not _LR_LIKE.search(stem):
            continue
        for pattern in _PATTERNS:
            match = pattern.fullmatch(stem)
            if match is None:
                continue
            base = nfc(match["name"])
            name = names.get(base) or next((names[base + end] for end in _HR_ENDS if base + end in names), None)
            if name is None:
                continue
            (height, width), (low, narrow) = size(name), size(stem)
            if low >= height or narrow >= width:
                continue  # enlarged, or the like: an image like others
            stated = match.groupdict().get("scale")
            fits = [s for s in scales if (height // s, width // s) == (low, narrow)]
            scale = int(stated) if stated else next(iter(fits), 0)
            if scale in scales:
                found.setdefault(scale, {})[name] = stem
                break
    return found


def nfc(name: str) -> str:
    """Return a name in Unicode's composed form: macOS' disks and archives made there have the other one."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def first(names: Sequence[str]) -> str:
    """Return the first names, for people."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


_HR_ENDS = ("_HR", "_GT", "HR")


def _base(name: str) -> str:
    return next((name.removesuffix(end) for end in _HR_ENDS if name.endswith(end)), name)


def _around(form: str, scale: int) -> tuple[str, str]:
    """Return what stands before and behind HR's name in a form."""
    before, _, end = form.replace("{scale}", str(scale)).replace("{base}", "{name}").partition("{name}")
    return before, end


def _called(form: str, name: str, scale: int) -> str:
    before, end = _around(form, scale)
    return f"{before}{_base(name) if '{base}' in form else name}{end}"
