"""The sets that the field shares: their folder layouts and download addresses."""

from __future__ import annotations

import os
import re
from pathlib import Path

import attrs

from srkit import InputRejected

SCALES = range(2, 17)  # what is looked for where no scale is given

# SelfExSR keeps HR, cropped to a multiple of the scale, and LR of a scale in one folder.
_SELFEXSR = "image_SRF_{scale}"


@attrs.frozen
class _Row:
    """Where a root keeps HR images, and where it keeps the LR images of a scale.

    `split` is the one that the HR images are, where a root has splits. `others` are the folders that are looked for
    where the first part of `lr` is not there.
    """

    hr: str
    lr: str
    split: str = ""
    others: str = ""


_ROWS = (
    _Row("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X{scale}", split="train"),
    _Row("DIV2K_valid_HR", "DIV2K_valid_LR_bicubic/X{scale}", split="valid"),
    _Row("Flickr2K_HR", "Flickr2K_LR_bicubic/X{scale}"),
    _Row("HR", "LR_bicubic/X{scale}", others="LR_*"),  # DF2K, EDSR's benchmark, the folder writer
    _Row("GTmod12", "LRbicx{scale}"),  # BasicSR
)

_PLAIN_LR = ("LR/X{scale}", "LR/x{scale}", "LR_x{scale}", "LR_X{scale}", "LRx{scale}", "LR")


@attrs.frozen
class Layout:
    """What was found in a root.

    `hr` is the folder of HR images, `lr` the paths of the LR folders, with {scale}: none, one, or several of equal
    rank. `plain` says that the stem of an HR file is the image's name.
    """

    hr: Path
    lr: tuple[str, ...] = ()
    plain: bool = False


def find_layout(root: Path, split: str) -> Layout:
    """Return the layout of a root; one without a known layout is a plain folder of HR images, which may not exist.

    Raises InputRejected where the split is not there, and where the root is several sets.
    """
    found = [row for row in _ROWS if os.path.isdir(root / row.hr)]
    splits = {row.split: row.hr for row in found if row.split}
    if splits and split not in splits:
        (other, hr), wanted = next(iter(splits.items())), next(row.hr for row in _ROWS if row.split == split)
        raise InputRejected(
            root,
            f'has {hr}, but no {wanted} for split = "{split}": '
            f'give split = "{other}", or unpack {_DIV2K}{wanted}.zip there',
        )
    if not splits and split != "train" and os.path.isdir(root):
        wanted = next(row.hr for row in _ROWS if row.split == split)
        raise InputRejected(root, f'has no splits, and split = "{split}" is for a root with {wanted}: leave split out')
    found = [row for row in found if row.split in ("", split)]
    if len(found) > 1:
        choices = " or ".join(f'hr = "{root / row.hr}" with lr = "{root / row.lr}"' for row in found)
        raise InputRejected(root, f"holds {' and '.join(row.hr for row in found)}: give {choices}, not path")
    if found:
        return Layout(root / found[0].hr, _beside(root, found[0]), plain=True)
    if re.fullmatch(r"image_SRF_\d+", root.name):
        return Layout(root, (str(root.with_name(_SELFEXSR)),))
    for scale in SCALES:  # the HR of the smallest scale has lost least by its cropping
        if os.path.isdir(folder := root / _SELFEXSR.format(scale=scale)):
            return Layout(folder, (str(root / _SELFEXSR),))
    return Layout(root)


def _beside(root: Path, row: _Row) -> tuple[str, ...]:
    """Return the LR folders of a root, with {scale}: the usual one, or else the others that have scales."""
    usual = root / row.lr
    others: list[Path] = []
    if row.others and not os.path.isdir(usual.parent):
        others = [folder for folder in sorted(root.glob(row.others)) if any(folder.glob("X[0-9]*/"))]
        if not others:  # as people put pairs together
            for lr in _PLAIN_LR:
                if any(os.path.isdir(root / lr.replace("{scale}", str(scale))) for scale in SCALES):
                    return (str(root / lr),)
    return tuple(str(folder / usual.name) for folder in others) or (str(usual),)


@attrs.frozen
class _Home:
    """Where to download a set.

    `text` gives the address and the steps; its {place} is the folder that then holds `root`, the set's folder. An empty
    `root` is for archives that are unpacked into the set's folder itself.
    """

    name: str
    text: str
    root: str = ""


_DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
_EDSR = "https://cv.snu.ac.kr/research/EDSR/"
_BENCHMARK = f"is in {_EDSR}benchmark.tar: unpack it {{place}}"
_ZIP = f"is at {_DIV2K}: unpack {{name}}.zip {{place}}"
_LR_ZIPS = f"is at {_DIV2K}: unpack {{name}}_X2.zip, {{name}}_X3.zip or {{name}}_X4.zip {{place}}"

# By the name of the folder that is looked for, in small letters.
_HOMES = {
    home.name.casefold(): home
    for home in (
        _Home("DIV2K", f"is at {_DIV2K}: unpack DIV2K_train_HR.zip or DIV2K_valid_HR.zip {{place}}"),
        _Home("DIV2K_train_HR", _ZIP, "DIV2K_train_HR"),
        _Home("DIV2K_valid_HR", _ZIP, "DIV2K_valid_HR"),
        _Home("DIV2K_train_LR_bicubic", _LR_ZIPS, "DIV2K_train_LR_bicubic"),
        _Home("DIV2K_valid_LR_bicubic", _LR_ZIPS, "DIV2K_valid_LR_bicubic"),
        _Home("Flickr2K", f"is in {_EDSR}Flickr2K.tar: unpack it {{place}}", "Flickr2K"),
        _Home(
            "DF2K",
            f"is DIV2K_train_HR.zip of {_DIV2K} with {_EDSR}Flickr2K.tar: "
            "put the HR images of both into a folder HR {place}",
        ),
        _Home("benchmark", _BENCHMARK, "benchmark"),
        *(_Home(name, _BENCHMARK, f"benchmark/{name}") for name in ("Set5", "Set14", "B100", "Urban100")),
    )
}
_ALIASES = {"bsds100": "b100", "bsd100": "b100"}


def hint(path: Path) -> str:
    """Return where to download the known set that a path belongs to: "Set5 is in https://...: unpack it in data".

    Return "" where no folder of the path has the name of a known set, or where the set's folder exists.
    """
    for folder in (path, *path.parents):
        name = folder.name.casefold()
        home = _HOMES.get(_ALIASES.get(name, name))
        if home is not None:
            break
    else:
        return ""
    if os.path.exists(folder):
        return ""
    above = folder.parent if home.root else folder
    outer = Path(home.root).parent.name  # the folder of the sets, where an archive holds several
    if outer and above.name.casefold() == outer:
        above = above.parent
    lies = above / home.root
    text = home.text.format(name=home.name, place="here" if above == Path() else f"in {above}")
    move = "" if path.is_relative_to(lies) else f", and move {lies} to {folder}"
    return f"{home.name} {text}{move}"
