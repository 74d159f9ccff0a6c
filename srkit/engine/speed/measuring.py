"""How fast networks are and what memory they take: timed in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from srkit.engine.memory import lacks_memory
from srkit.engine.networks.calling import Size, enlarge
from srkit.engine.networks.folding import for_inference, offers_form
from srkit.errors import describe

FORMS = ("eager", "compiled", "folded")
PRECISIONS = ("float32", "bfloat16", "float16")
LEAST_ROUNDS, MOST_ROUNDS = 3, 200


class NoForm(ValueError):
    """Raised for a form that a network does not offer."""


@attrs.frozen
class Case:
    """What is timed: a network by its name, LR of a size (height, width), in a precision and a form."""

    model: str
    size: Size
    precision: str = "float32"
    form: str = "eager"


@attrs.define
class Timed:
    """A case, ready to be called, and the seconds of each call; `first` is that of the first one, which compiles.

    `reason` says why there are none.
    """

    case: Case
    call: Callable[[], object] | None = None
    first: float = 0.0
    seconds: list[float] = attrs.field(factory=list)
    reason: str = ""


def prepare(network: nn.Module, case: Case, lr: Tensor, sr_size: Size | None) -> Callable[[], Tensor]:
    """Return a call of a network with LR [n, 3, h, w], in the case's precision and form. Raises NoForm."""
    called: Callable[..., Any] = network
    if case.form == "folded":
        if not offers_form(network):
            raise NoForm("it offers no other form for inference")
        called = for_inference(network)
    elif case.form == "compiled":
        called = torch.compile(network)
    precision = getattr(torch, case.precision)

    def call() -> Tensor:
        with torch.inference_mode(), torch.autocast(lr.device.type, precision, enabled=precision != torch.float32):
            return enlarge(called, lr, sr_size)

    return call


def time_in_turns(timed: Sequence[Timed], device: torch.device, seconds: float) -> None:
    """Call each in turn, after a first call that does not count, until each has had so many seconds on average.

    What raises is not called again, and says why.
    """
    for one in timed:
        one.first = _measure(one, device)
    began = time.perf_counter()
    for done in range(MOST_ROUNDS):
        live = [one for one in timed if not one.reason]
        if not live or (done >= LEAST_ROUNDS and time.perf_counter() - began > seconds * len(live)):
            return
        turn = done % len(live)  # each is first now and then: what comes before leaves the caches as it likes
        for one in (*live[turn:], *live[:turn]):
            one.seconds.append(_measure(one, device))


def _measure(one: Timed, device: torch.device) -> float:
    if one.call is None:
        return 0.0
    try:
        synchronize(device)
        began = time.perf_counter()
        one.call()
        synchronize(device)
        return time.perf_counter() - began
    except Exception as error:  # of the network, of a compiler that is not there
        one.reason = "too little memory" if lacks_memory(error) else describe(error)
        return 0.0


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def ratio(one: Timed, first: Timed) -> float | None:
    """Return how many times as fast as the first one it is: the median over the rounds in which both were called."""
    pairs = [theirs / own for own, theirs in zip(one.seconds, first.seconds, strict=False)]
    return statistics.median(pairs) if pairs else None


def peak_of_device(call: Callable[[], object], device: torch.device) -> int | None:
    """Return the most bytes that the tensors of a call take on a GPU beside those before it; None for other devices."""
    if device.type != "cuda":
        return None
    synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def peak_of_process(call: Callable[[], object], warm: Callable[[], object], proc: Path = Path("/proc/self")) -> int:
    """Return the most bytes of memory that this process takes in a call beside those before it.

    True of a process that does nothing else: what was computed before leaves memory that is free, and used again.
    `warm` is a call of a small image, after which what is loaded once is loaded. On Linux the peak is set back in
    between; elsewhere it is the process's largest so far.
    """
    warm()
    try:
        (proc / "clear_refs").write_text("5")  # man 5 proc: sets the peak to what is taken now
        before = _status(proc, "VmRSS")
        call()
        return max(0, _status(proc, "VmHWM") - before)
    except (OSError, StopIteration):
        pass
    before = _largest()
    call()
    return max(0, _largest() - before)


def _status(proc: Path, name: str) -> int:
    lines = (proc / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _largest() -> int:
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def multiply_adds(network: nn.Module, shape: Sequence[int], sr_size: Size | None) -> int | None:
    """Return the multiply-adds of convolutions and matrix products for LR of a shape, counted without computing where
    that can be; None where they cannot be counted."""
    for device in ("meta", None):
        try:
            counted = network if device is None else copy.deepcopy(network).to(device)
            here = next((parameter.device for parameter in counted.parameters()), torch.device("cpu"))
            counter = FlopCounterMode(display=False)
            with torch.no_grad(), here, counter:
                enlarge(counted, torch.zeros(tuple(shape), device=here), sr_size)
            return round(counter.get_total_flops() / 2)
        except Exception:  # what a network computes of values, the meta device has none
            continue
    return None


def parameters(network: nn.Module) -> int:
    """Return how many parameters a network has."""
    return sum(parameter.numel() for parameter in network.parameters())


def row(one: Timed, network: nn.Module, first: Timed, batch: int, peak: int | None) -> Mapping[str, Any]:
    """Return what was measured of a case, as JSON's types: seconds are medians, `ratio` as `ratio` has it."""
    median = statistics.median(one.seconds) if one.seconds else None
    return {
        "model": one.case.model,
        "size": list(one.case.size),
        "precision": one.case.precision,
        "form": one.case.form,
        "seconds": median,
        "quartiles": statistics.quantiles(one.seconds, n=4)[::2] if len(one.seconds) > 1 else None,
        "calls": len(one.seconds),
        "first_seconds": one.first if median is not None else None,
        "images_per_s": None if median is None else batch / median,
        "ratio": None if median is None else ratio(one, first),
        "peak_bytes": peak,
        "parameters": parameters(network),
        "reason": one.reason,
    }
