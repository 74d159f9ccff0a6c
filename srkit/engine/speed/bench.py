"""Networks side by side: made, counted, timed in turns, their memory measured in processes apart."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from srkit.engine.builder import Builder
from srkit.engine.device import pick_device
from srkit.engine.memory import return_what_is_free
from srkit.engine.networks.calling import Size, scaled, takes_size
from srkit.engine.networks.folding import for_inference
from srkit.engine.speed.measuring import (
    FORMS,
    PRECISIONS,
    Case,
    NoForm,
    Timed,
    multiply_adds,
    peak_of_device,
    peak_of_process,
    prepare,
    row,
    time_in_turns,
)
from srkit.engine.weights.model import near_run, no_model, read_model
from srkit.errors import ComponentError, InputRejected, UsageError, describe, did_you_mean
from srkit.recipe.reading import read_part

USUAL_SCALE = 2
SMALL = 32  # LR pixels a side of the image that loads what is loaded once


@attrs.frozen
class Words:
    """What a bench is asked for: LR sizes (height, width), precisions, forms, where, and for how long."""

    sizes: Sequence[Size] = ((128, 128),)
    precisions: Sequence[str] = ("float32",)
    forms: Sequence[str] = ("eager",)
    device: str = "auto"
    threads: int = 0
    batch: int = 1
    seconds: float = 2.0
    scale: float | None = None
    overrides: Sequence[str] = ()
    memory: bool = True
    plugins: Sequence[str] = ()

    def __attrs_post_init__(self) -> None:
        """Raise UsageError for what cannot be meant."""
        for name, given, known in (("precision", self.precisions, PRECISIONS), ("form", self.forms, FORMS)):
            for one in given:
                if one not in known:
                    raise UsageError(f"there is no {name} '{one}'{did_you_mean(one, known)}")
        for name, least in (("threads", self.threads + 1), ("batch", self.batch), ("seconds", self.seconds)):
            if least <= 0:
                raise UsageError(f"{name} cannot be {least - (name == 'threads')}")
        if any(side < 1 for size in self.sizes for side in size):
            raise UsageError("a size has at least one row and one column")


@attrs.frozen
class Named:
    """A network by the name of its rows, with the scale that it is timed at."""

    name: str
    network: nn.Module
    scale: float

    def size(self, lr: Size) -> Size | None:
        """Return the size of SR, for a network that is given one."""
        return (scaled(lr[0], self.scale), scaled(lr[1], self.scale)) if takes_size(self.network) else None


def bench(models: Sequence[str], builder: Builder, words: Words) -> dict[str, Any]:
    """Return what was measured, as JSON's types: a row for each model, size, precision and form.

    Of one size all are called in turns; `ratio` is to the first of them. Raises what is wrong with a model or the
    words; what cannot be computed is a row with its `reason`.
    """
    device = pick_device(words.device, "--device")
    networks = [_read(model, builder, words) for model in models]
    twice = next((model for model in models if list(models).count(model) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is there twice: its rows could not be told apart")
    rows: list[dict[str, Any]] = []
    with _threads(words.threads):
        for size in words.sizes:
            rows += _rows(networks, size, device, words)
        threads = torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "schema": 1,
        "device": str(device),
        "device_name": name,
        "threads": threads,
        "torch": torch.__version__,
        "batch": words.batch,
        "rows": rows,
    }


def _rows(networks: Sequence[Named], size: Size, device: torch.device, words: Words) -> Iterator[dict[str, Any]]:
    """Yield the rows of a size."""
    lr = torch.rand(words.batch, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
    timed: list[tuple[Named, Timed]] = []
    for named in networks:
        named.network.to(device)
        for precision in words.precisions:
            for form in words.forms:
                timed.append((named, _timed(named, Case(named.name, size, precision, form), lr)))
    time_in_turns([one for _, one in timed], device, words.seconds)
    first = timed[0][1]
    for named, one in timed:
        peak = None if one.reason or one.call is None or not words.memory else peak_of_device(one.call, device)
        if device.type == "cpu" and words.memory and not one.reason:
            peak = _peak_apart(one.case, words)
        network = for_inference(named.network) if one.case.form == "folded" else named.network
        found = row(one, network, first, words.batch, peak)
        counted = multiply_adds(network, (1, 3, *size), named.size(size))
        yield {**found, "scale": named.scale, "multiply_adds": counted}


def _timed(named: Named, case: Case, lr: Tensor) -> Timed:
    try:
        return Timed(case, prepare(named.network, case, lr, named.size(case.size)))
    except NoForm as error:
        return Timed(case, reason=str(error))
    except Exception as error:  # of a network that cannot make its other form
        return Timed(case, reason=describe(error))


def peak_here(model: str, builder: Builder, words: Words) -> int:
    """Return the bytes that one case takes in this process, which is to do nothing else."""
    return_what_is_free()  # else what is free counts as taken before, where it is used again
    named = _read(model, builder, words)
    (size,), (precision,), (form,) = words.sizes, words.precisions, words.forms
    case = Case(model, size, precision, form)
    small = SMALL if form != "compiled" else 0  # compiled for another size, it would be compiled once more
    with _threads(words.threads):
        lr = torch.rand(words.batch, 3, *size)
        call = prepare(named.network, case, lr, named.size(size))
        little = (small, small) if small else size
        warm = prepare(named.network, case, torch.rand(1, 3, *little), named.size(little)) if small else call
        return peak_of_process(call, warm)


def _peak_apart(case: Case, words: Words) -> int | None:
    """Return what `peak_here` does of a case in a process apart; None where that fails."""
    command = [sys.executable, "-m", "srkit"]
    command += [word for plugin in words.plugins for word in ("-p", plugin)]
    command += ["bench", "--peak", "--size", f"{case.size[0]}x{case.size[1]}", "--precision", case.precision]
    command += ["--form", case.form, "--device", "cpu", "--batch", str(words.batch)]
    command += ["--threads", str(torch.get_num_threads())]
    command += ["--scale", str(words.scale)] if words.scale is not None else []
    command += [word for text in words.overrides for word in ("--set", text)]
    done = subprocess.run([*command, "--", case.model], capture_output=True, text=True, check=False)
    try:
        return int(done.stdout)
    except ValueError:
        return None


def _read(model: str, builder: Builder, words: Words) -> Named:
    """Return the network of a file, a run directory, or of a component's name with its first weights."""
    if Path(model).exists():
        read = read_model(Path(model), builder, scale=words.scale)
        return Named(model, read.network, read.scale)
    names = {entry.component.name for entry in builder.registry.of_kind("architecture")}
    try:
        facts = builder.registry.find("architecture", model).component.facts
    except ComponentError as error:
        reason = no_model(Path(model), "file, run directory or network")
        near = "" if near_run(Path(model)) else did_you_mean(model, names)
        raise InputRejected(model, f"{reason}{near}") from error
    scales = facts.get("scales", (USUAL_SCALE,))
    scale = words.scale or (USUAL_SCALE if USUAL_SCALE in scales else scales[0])
    part = read_part(builder.registry, "architecture", model, list(words.overrides))
    return Named(model, builder.network(part, scale).eval(), scale)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with so many threads, or with torch's own choice for 0."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
