"""Enlarge images with a network: names, grey, alpha and 16 bits are kept.

INPUT is an image or a folder of images. A bad image is named and the rest goes on; the exit code is then 3.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from srkit.errors import InputRejected, UsageError
from srkit.imaging import SUFFIXES, Picture, list_images, open_picture, save_picture, suffix_for
from srkit.plugins import discover

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="best.safetensors, or a run directory")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="images, or folders of images")
    parser.add_argument("-o", dest="out", required=True, metavar="OUT", help="a folder; or a file, for a single image")


def main(arguments: argparse.Namespace) -> int:
    """Enlarge each image."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from srkit.cli.output import clean, console
    from srkit.engine.build import pick_device
    from srkit.engine.model import read_model

    model = read_model(Path(arguments.model), discover(arguments.plugins))
    device = pick_device("auto")
    network = model.network.to(device)
    work, bad = _plan(arguments.inputs, Path(arguments.out))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = console(stderr=True)
    done = 0
    with Progress(*columns, console=screen, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=len(work))
        for source, target in work:
            progress.update(task, description=clean(source.name))
            try:
                picture = _enlarged(open_picture(source), network, device)
                if target.suffix.lower() not in SUFFIXES or not _same_kind(target, picture):
                    target = target.with_suffix(suffix_for(source, picture))
                target.parent.mkdir(parents=True, exist_ok=True)
                save_picture(target, picture)
                done += 1
            except InputRejected as error:
                bad.append(error)
                screen.print(clean(error), soft_wrap=True)
            except OSError as error:
                bad.append(InputRejected(target, str(error.strerror)))
                screen.print(clean(bad[-1]), soft_wrap=True)
            progress.advance(task)
    print(f"{done} of {done + len(bad)} images enlarged x{model.scale} into {arguments.out}", file=sys.stderr)
    return InputRejected.exit_code if bad else 0


def _same_kind(target: Path, picture: Picture) -> bool:
    return suffix_for(target, picture) == target.suffix


def _plan(inputs: list[str], out: Path) -> tuple[list[tuple[Path, Path]], list[InputRejected]]:
    """Return (source, target) of each image, before anything is written.

    Raises UsageError where two images would get one name, or one would be written over itself.
    """
    work: list[tuple[Path, Path]] = []
    bad: list[InputRejected] = []
    single = len(inputs) == 1 and Path(inputs[0]).is_file() and out.suffix.lower() in SUFFIXES
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            found = list_images(path)
            if not found:
                bad.append(InputRejected(path, f"holds no images ({', '.join(SUFFIXES)})"))
                print(bad[-1], file=sys.stderr)
            work += [(image, out / image.name) for image in found]
        elif path.exists():
            work.append((path, out if single else out / path.name))
        else:
            bad.append(InputRejected(path, "there is no such file or folder"))
            print(bad[-1], file=sys.stderr)
    by_stem: dict[Path, Path] = {}
    for source, target in work:
        key = target.with_suffix("")
        if key in by_stem:
            raise UsageError(f"{by_stem[key]} and {source} would both become {key}.*; enlarge them into two folders")
        by_stem[key] = source
        if target.resolve() == source.resolve():
            raise UsageError(f"{source} would be written over itself; give another -o")
    return work, bad


def _enlarged(picture: Picture, network: nn.Module, device: torch.device) -> Picture:
    """Return a picture enlarged by a network; alpha by itself, as a grey image."""
    import numpy as np

    from srkit.engine.evaluate import upscale

    def grey_of(image: NDArray[Any]) -> NDArray[Any]:
        # The network's three channels need not agree on a grey image; their mean is grey again.
        return np.asarray(np.floor(image.mean(2) + 0.5), dtype=image.dtype)

    pixels = upscale(picture.pixels, network, device)
    if picture.grey:
        pixels = np.repeat(grey_of(pixels)[..., None], 3, axis=2)
    alpha = picture.alpha
    if alpha is not None:
        alpha = grey_of(upscale(np.repeat(alpha[..., None], 3, axis=2), network, device))
    return attrs.evolve(picture, pixels=pixels, alpha=alpha)
