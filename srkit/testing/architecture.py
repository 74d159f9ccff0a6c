"""What a network must do."""

from __future__ import annotations

import functools
import itertools
import json
import math
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srkit.engine.builder import Builder
from srkit.engine.learning.prediction import split
from srkit.engine.networks.calling import Size, needs_size, scaled, scales_of, takes, takes_size
from srkit.engine.networks.folding import for_inference, offers_form
from srkit.engine.networks.padding import fitting
from srkit.engine.scoring.streaming import stages_of
from srkit.engine.weights.model import read_model, save_model
from srkit.errors import describe, located
from srkit.plugin.part import as_tree
from srkit.testing.check import Check, Inapplicable, Subject, fail
from srkit.testing.samples import largest, refuse_unreached, stirred

ODD = (13, 17)  # pixels
LARGEST_SCALE = 8  # that is looked for
LARGEST = 64  # pixels: the largest multiple and the largest least side that are looked for
# Sums of float32 in another order: measured at most 1e-6 of the largest value for srkit's networks and thirty others.
SAME = 1e-4
SAME_IN_DOUBLE = 1e-9  # measured at most 4e-15; a wrong tap at an edge shows by far more
DEVIATION = 'or state the deviation with its reason: facts={{"deviations": {{"{}": "..."}}}}'


def returns_one_tensor(subject: Subject) -> None:
    """Called with LR, float32 [n, 3, h, w] in 0..1, it returns SR, a finite float32 tensor; in training it may return
    (SR, {name: tensor}) instead."""
    network = _made(subject)
    x = _images(subject, 2)
    for training, when in ((False, ""), (True, " in training")):
        try:
            output: object = network.train(training)(x)
        except Exception as error:
            facts = _sizes_that_work(network, subject.scale)
            if not facts:
                raise
            height, width = x.shape[2:]
            fail(f"LR of {height}x{width} fails{when}: {located(error)}", _instead_of_size(facts))
        sr, extras = split(output) if training else (output, {})
        if not isinstance(sr, Tensor) or not all(isinstance(extra, Tensor) for extra in extras.values()):
            instead = "return SR alone, or (SR, {name: tensor}) in training; a subclass's forward can pick it"
            fail(f"it returns a {type(output).__name__}{when}", instead)
        if sr.dtype != torch.float32:
            fail(f"it returns {_dtype(sr)}{when}", "return float32")
        if not bool(sr.isfinite().all()):
            fail(f"its output is not finite{when}", "look at the first weights, and at divisions by zero")


def output_is_scaled(subject: Subject) -> None:
    """SR is as much larger than LR as the scale says, at every scale that it states (or 2, 3 and 4), for odd sides,
    too."""
    for scale, network in subject.made_at_each_scale():
        if scales_of(network, subject.facts, scale).fault(scale):
            continue  # of those that it has by its range
        x = _images(subject)
        _refuse_other_size(_run(_ready(network, scale).eval(), x), x, scale)


def any_size_is_made(subject: Subject) -> None:
    """Where its forward declares `size`, SR has that size, at each of its `scales`, or at several of its `scale_range`
    that are no whole numbers; where it declares `points`, those pixels are the ones of all of SR."""
    network = subject.make().eval()
    if not takes_size(network):
        raise Inapplicable("its forward does not declare `size`")
    x = _images(subject, 2)
    served = scales_of(network, subject.facts, subject.scale)
    scales = served.some or [scale for scale in (served.least, 1.3, 2.7, 3.6) if not served.fault(scale)]
    for scale in scales:
        size = scaled(x.shape[2], scale), scaled(x.shape[3], scale)
        sr = _run(network, x, size=size)
        if list(sr.shape) != [2, 3, *size]:
            fail(
                f"asked for {list(size)}, LR {list(x.shape)} becomes {list(sr.shape)}",
                _instead_of_other_size(subject, network, x),
            )
        if takes(network.forward, "points"):
            _refuse_other_points(network, x, size, sr)


def _instead_of_other_size(subject: Subject, network: nn.Module, x: Tensor) -> str:
    """Return what to do about a network that makes SR of another size than is asked for, from the sizes it makes."""
    made = [
        scale
        for scale in range(1, LARGEST_SCALE + 1)
        if list(_run(network, x, size=(x.shape[2] * scale, x.shape[3] * scale)).shape[2:])
        == [side * scale for side in x.shape[2:]]
    ]
    if not made or (made == list(range(made[0], made[-1] + 1)) and len(made) > 2):
        return "make SR of the size that is asked for, or state what it serves: facts={'scale_range': (1.0, 4.0)}"
    own = ", ".join(map(str, made)) + ("," if len(made) == 1 else "")
    return (
        f"make SR of the size that is asked for; or, where it serves some scales alone, let each network say which are "
        f"its own: made for scale {subject.scale}, self.scales = ({own})"
    )


def _refuse_other_points(network: nn.Module, x: Tensor, size: Size, sr: Tensor) -> None:
    points = torch.randint(0, size[0] * size[1], (len(x), 40))
    found = _run(network, x, size=size, points=points)
    must = sr.flatten(2).gather(2, points[:, None].expand(-1, 3, -1))[..., None]
    if found.shape != must.shape:
        fail(f"40 points become {list(found.shape)}, not {list(must.shape)}", "return [n, 3, q, 1], in their order")
    if _differ(found, must):
        fail(
            f"at points it gives values that differ by {largest(found - must):.2g} from those pixels of all of SR",
            "a point is row * width + column, of SR's size",
        )


def weights_fit_as_stated(subject: Subject) -> None:
    """Where `weights_fit_any_scale` is stated, its weights have the same names and shapes at each scale."""
    if not subject.facts.get("weights_fit_any_scale"):
        raise Inapplicable("it does not state weights_fit_any_scale")
    shapes = {
        scale: {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        for scale, network in subject.made_at_each_scale()
    }
    (first, own), *others = shapes.items()
    for scale, found in others:
        odd = [name for name in {**own, **found} if own.get(name) != found.get(name)]
        if odd:
            fail(
                f"weights_fit_any_scale is stated, and at scales {first} and {scale} {odd[0]} is "
                f"{own.get(odd[0], 'not there')} and {found.get(odd[0], 'not there')}",
                "leave out the fact",
            )


def smallest_image_works(subject: Subject) -> None:
    """LR of 1x1 works, or of the `min_size` and `multiple_of` that it states."""
    side = _side(subject, 1)
    x = torch.rand(1, 3, side, side)
    network = _made(subject).eval()
    try:
        sr = _run(network, x)
    except Exception as error:
        facts = _sizes_that_work(network, subject.scale)
        fail(f"LR of {side}x{side} fails: {describe(error)}", _instead_of_size(facts))
    _refuse_other_size(sr, x, subject.scale)
    if not bool(sr.isfinite().all()):
        fail(f"the output for LR of {side}x{side} is not finite", "look at what is divided by a number of pixels")


def every_parameter_learns(subject: Subject) -> None:
    """The gradient of SR, or of what is returned beside it in training, reaches every parameter."""
    network = _made(subject).train()
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not parameters:
        raise Inapplicable("there is nothing to train")
    sr, extras = split(network(_images(subject, 2)))
    values = [(output * torch.rand_like(output)).sum() for output in (sr, *extras.values())]
    torch.autograd.backward(torch.stack(values).sum())
    refuse_unreached(
        parameters, "use them in forward, or leave them out; a detach() or no_grad() on the way stops it, too"
    )


def batch_mates_do_not_matter(subject: Subject) -> None:
    """In evaluation, an image's SR does not depend on the other images of its batch."""
    network = _made(subject).eval()
    x = _images(subject, 3)
    together, alone = _run(network, x)[:1], _run(network, x[:1])
    if _differ(together, alone):
        fail(
            f"an image's output changes by {largest(together - alone):.2g} with its batch",
            "take means over each image alone (dim=(2, 3)), and no statistics of the batch in eval()",
        )


def same_image_gives_same_output(subject: Subject) -> None:
    """In evaluation, the same LR gives the same SR: there is no dropout and no noise left."""
    network = _made(subject).eval()
    x = _images(subject)
    first, second = _run(network, x), _run(network, x)
    if _differ(first, second):
        fail(
            f"the same image gives outputs that differ by {largest(first - second):.2g}",
            "draw random numbers only where self.training",
        )


def input_is_left_alone(subject: Subject) -> None:
    """The input is not written to."""
    network = _made(subject)
    for training in (False, True):
        x = _images(subject, 2)
        before = x.clone()
        network.train(training)(x)
        if not torch.equal(x, before):
            fail("it changes its input", "take no in-place operation (relu_, +=) on the input itself")


def same_seed_gives_same_weights(subject: Subject) -> None:
    """The first weights are a function of torch's seed."""
    first, second = (_seeded(subject, 1).state_dict() for _ in range(2))
    for name, tensor in first.items():
        if not torch.equal(tensor, second[name]):
            fail(
                f"with the same seed, {name} is another one each time",
                "draw first weights from torch's global generator alone",
            )


def weights_survive_a_file(subject: Subject) -> None:
    """Written to a file that describes itself and read again, it gives the same SR: all that it learns is in its state
    dict."""
    network = stirred(_seeded(subject, 1)).eval()
    if not network.state_dict():
        raise Inapplicable("there is nothing to save")
    x = _images(subject)
    described = {
        "architecture": subject.entry.full_name,
        "settings": as_tree(subject.settings),
        "scale": subject.scale,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        save_model(path, network.state_dict(), described)
        torch.manual_seed(2)
        again = _ready(read_model(path, Builder(subject.registry)).network, subject.scale)
    before, after = _run(network, x), _run(again, x)
    if _differ(before, after):
        fail(
            f"read again from its file, its output differs by {largest(before - after):.2g}",
            "hold what is learnt in parameters and registered buffers, and random numbers that it keeps, too",
        )


def bfloat16_is_finite(subject: Subject) -> None:
    """Under torch's autocast to bfloat16, SR has its size and is finite."""
    network = _made(subject).eval()
    x = _images(subject)
    with torch.autocast("cpu", torch.bfloat16):
        sr = _run(network, x)
    _refuse_other_size(sr, x, subject.scale)
    if not bool(sr.isfinite().all()):
        fail("under autocast to bfloat16 its output is not finite", "keep what overflows in float32: x.float()")


def channels_last_is_the_same(subject: Subject) -> None:
    """With weights and LR in channels_last, as training has them by default, SR is the same."""
    network = _made(subject).eval()
    x = _images(subject, 2)
    plain = _run(network, x)
    other = _run(network.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last))
    if _differ(plain, other):
        fail(
            f"in channels_last its output differs by {largest(plain - other):.2g}",
            "use reshape or permute, and no view or as_strided that takes a layout for granted",
        )


def form_for_inference_is_the_network(subject: Subject) -> None:
    """Where it offers `for_inference()`, that is the same function, in float64 to the last digits: of one image and of
    several, of odd sides; it offers stages where the network does, and leaves the network as it was."""
    # With weights twice as strong, two hundred residual blocks make 1e-8 of a last digit.
    network = stirred(_seeded(subject, 1), strength=1.0).eval().double()
    if not offers_form(network):
        raise Inapplicable("it offers no form for inference")
    x = _images(subject, 2).double()
    before = _run(network, x)
    form = for_inference(network)
    if not isinstance(form, nn.Module):
        fail(f"for_inference() returns a {type(form).__name__}", "return a torch.nn.Module")
    if not torch.equal(_run(network, x), before):
        fail("for_inference() changes the network", "fold copies of its weights")
    for images in (x, x[:1]):
        whole, folded = _run(network, images), _run(form, images)
        off = largest(whole - folded) if whole.shape == folded.shape else math.inf
        if off > SAME_IN_DOUBLE * largest(whole):
            found = f"of {len(images)} image{'s' if len(images) > 1 else ''} its form for inference makes values that "
            fail(f"{found}differ by {off:.2g} in float64", "fold weights as they are, and pad as the network does")
    if stages_of(network, (2**10, 2**10)) and not stages_of(form, (2**10, 2**10)):
        fail("it offers stages, and its form for inference does not", "give that one stages(), too")


def tiles_are_as_stated(subject: Subject) -> None:
    """Whether a window's SR is the window of the whole image's is stated by `tileable`, and true of a network with
    strong weights: by chance, first weights are so small that a mean over the image hardly shows."""
    stated = subject.facts.get("tileable")
    off = _off_tile(subject)
    found = off <= SAME
    if stated is None:
        fail(
            f"it does not state whether tiles make up the whole image; they {'do' if found else 'do not'}",
            f'state it: facts={{"tileable": {found}}}',
        )
    if stated and not found:
        fail(
            f"tileable is stated, and a window's output differs from the whole's by {off:.2g} of its largest value",
            "state tileable=False; means over the image do that, positions in it, windows without a multiple_of, and "
            "rounded places of pixels (count them in whole numbers)",
        )
    if found and not stated:
        fail("tileable=False is stated, and a window's output is the whole's", "state tileable=True")


def _off_tile(subject: Subject) -> float:
    """Return how much the right part of a strip changes when its left end is taken away, of the largest value; the most
    at any scale that it is looked at.

    What is compared is two hundred pixels from the cut, further than convolutions carry anything that matters.
    """
    step = math.lcm(subject.facts.get("multiple_of", 1), 10)  # the cut is an edge of SR's pixels at scale 2.7, too
    cut, far = -(-110 // step) * step, 200
    height, width = _side(subject, 20), _side(subject, -(-(cut + far + 170) // 10) * 10)
    x = torch.rand(1, 3, height, width) * torch.linspace(0.1, 1, width)  # what a mean over all of it sees changes
    off = 0.0
    for scale in _scales_for_tiles(subject):
        for strength in (2.0, 1.3, 1.0):
            network = stirred(_seeded(subject, 1), strength).eval()
            whole, tile = _at(network, x, scale), _at(network, x[..., cut:], scale)
            if bool(whole.isfinite().all() and tile.isfinite().all()):
                break
        end = scaled(width - cut - far, scale)
        whole, tile = whole[..., -end:], tile[..., -end:]
        off = max(off, largest(whole - tile) / max(largest(whole), 1e-30))
    return off


def _scales_for_tiles(subject: Subject) -> list[float]:
    """Return the subject's scale, and where its network serves any, two that are no whole numbers: pixels of SR lie on
    edges between pixels of LR there, and whole and tile must take the same neighbour."""
    network = subject.make()
    if not takes_size(network):
        return [subject.scale]
    served = scales_of(network, subject.facts, subject.scale)
    return [subject.scale, *(scale for scale in (2.5, 2.7) if not served.fault(scale))]


def _at(network: nn.Module, x: Tensor, scale: float) -> Tensor:
    if not takes_size(network):
        return _run(network, x)
    return _run(network, x, size=(scaled(x.shape[2], scale), scaled(x.shape[3], scale)))


def compiles(subject: Subject) -> None:
    """Under torch.compile it gives the same SR."""
    network = _made(subject).eval()
    x = _images(subject)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the compiler on itself
        plain, compiled = _run(network, x), _run(torch.compile(network), x)
    if largest(plain - compiled) > 1e-3 * largest(plain):
        fail(
            f"under torch.compile its output differs by {largest(plain - compiled):.2g}",
            "branch on nothing that torch.compile fixes when it traces",
        )


CHECKS = (
    Check(returns_one_tensor, first=True, demanded=True),
    Check(output_is_scaled, demanded=True),
    Check(any_size_is_made, needs=(returns_one_tensor,)),
    Check(weights_fit_as_stated),
    Check(smallest_image_works, needs=(output_is_scaled,)),
    Check(every_parameter_learns),
    Check(input_is_left_alone),
    Check(same_image_gives_same_output),
    Check(batch_mates_do_not_matter, needs=(same_image_gives_same_output,)),
    Check(same_seed_gives_same_weights),
    Check(weights_survive_a_file, needs=(same_image_gives_same_output,)),
    Check(form_for_inference_is_the_network, needs=(same_image_gives_same_output,)),
    Check(tiles_are_as_stated, needs=(output_is_scaled, same_image_gives_same_output)),
    Check(channels_last_is_the_same, needs=(same_image_gives_same_output,)),
    Check(bfloat16_is_finite, needs=(output_is_scaled,)),
    Check(compiles, slow=True, needs=(same_image_gives_same_output,)),
)


def _sizes_that_work(network: nn.Module, scale: int) -> dict[str, int]:
    """Return the smallest facts that are true of a network: what sides must be a multiple of, and the least side, found
    by trying all that matter up to `LARGEST`; empty where no such facts will do."""

    @functools.cache
    def works(side: int) -> bool:
        try:
            sr: object = _run(network, torch.rand(2, 3, side, side))
        except Exception:
            return False
        return isinstance(sr, Tensor) and list(sr.shape[2:]) == [side * scale] * 2

    for multiple in range(1, LARGEST + 1):
        sides = range(max(LARGEST // multiple, 2) * multiple, 0, -multiple)
        least = min(itertools.takewhile(works, sides), default=sides[0])
        if works(least) and works(sides[1]):  # twice is no chance
            facts = {"min_size": least if least > multiple else 1, "multiple_of": multiple}
            return {name: value for name, value in facts.items() if value > 1}
    return {}


def _instead_of_size(facts: Mapping[str, int]) -> str:
    """Return what to do about sizes that a network does not take, with the facts that would be true of it."""
    if not facts:
        return "pad within the network"
    return f"pad within the network, or state what it takes: facts={json.dumps(facts)}"


def _side(subject: Subject, pixels: int) -> int:
    """Return the smallest side of so many pixels or more that the network takes."""
    return fitting(pixels, subject.facts.get("min_size", 1), subject.facts.get("multiple_of", 1))


def _images(subject: Subject, count: int = 1) -> Tensor:
    height, width = (_side(subject, side) for side in ODD)
    return torch.rand(count, 3, height, width)


@torch.no_grad()
def _run(network: Any, x: Tensor, **words: Any) -> Tensor:
    sr: Tensor = network(x, **words)
    return sr


def _made(subject: Subject) -> Any:
    """Return the network of the subject's scale, which needs no size."""
    return _ready(subject.make(), subject.scale)


def _ready(network: nn.Module, scale: float) -> nn.Module:
    """Return a network that is given the size of a scale where it needs one and is called without."""
    if needs_size(network):
        asked = network.forward

        def forward(x: Tensor, size: Size | None = None, **words: Any) -> Any:
            return asked(x, size=size or (scaled(x.shape[2], scale), scaled(x.shape[3], scale)), **words)

        network.forward = forward
    return network


def _seeded(subject: Subject, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network: nn.Module = _made(subject)
    return network


def _refuse_other_size(sr: Tensor, lr: Tensor, scale: int) -> None:
    must = [*lr.shape[:2], lr.shape[2] * scale, lr.shape[3] * scale]
    if sr.dim() == 4 and list(sr.shape[2:]) == must[2:] and sr.shape[1] != 3 and len(sr) == len(lr):
        channels = f"{sr.shape[1]} channel{'' if sr.shape[1] == 1 else 's'}"
        fail(
            f"SR has {channels}, and images here have 3, red, green and blue",
            "let the last layer give 3; a network of luma alone is another one, made and trained for 3 channels",
        )
    whole = [n for n in range(1, LARGEST_SCALE + 1) if list(sr.shape[2:]) == [side * n for side in lr.shape[2:]]]
    if list(sr.shape) != must and whole and list(sr.shape[:2]) == must[:2]:
        fail(
            f"at scale {scale}, LR {list(lr.shape)} becomes {list(sr.shape)}, not {must}",
            f"enlarge by `scale`, and not by {whole[0]}; or raise a ValueError for a scale that it cannot be made for, "
            'and state those that it can: facts={"scales": (2, 4)}',
        )
    if list(sr.shape) != must:
        fail(
            f"at scale {scale}, LR {list(lr.shape)} becomes {list(sr.shape)}, not {must}",
            "let every layer keep the size but those that enlarge; padding=kernel_size // 2 does",
        )


def _differ(a: Tensor, b: Tensor) -> bool:
    """Say whether two outputs differ by more than the order of their sums explains."""
    return largest(a - b) > SAME * max(largest(a), 1e-30)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
