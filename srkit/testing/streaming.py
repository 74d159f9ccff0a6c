"""What a network must do that offers stages, or states how far it sees: the parts of an image make up the whole."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from srkit.engine.networks.calling import enlarge
from srkit.engine.networks.folding import for_inference, offers_form
from srkit.engine.scoring.streaming import declared, run, stages_of
from srkit.plugin.contracts import Stage
from srkit.testing.check import Check, Inapplicable, Subject, fail
from srkit.testing.samples import largest, stirred

WIDTH, ROWS = 21, 8  # pixels of an image, and rows of a strip
SAME = 1e-4  # relative: sums of float32 in another order


def stages_make_up_the_network(subject: Subject) -> None:
    """Where it offers `stages()`, these make SR one after the other; each enlarges by its `scale`, and declares `lr`
    only where none before it enlarges. So do those of its form for inference."""
    for network, stages in _stages_of(subject):
        _refuse_other_stages(network, stages)


def _refuse_other_stages(network: nn.Module, stages: Sequence[Stage]) -> None:
    lr = x = _strip(WIDTH)
    enlarged = False
    for number, stage in enumerate(stages, 1):
        if (stage.pooled is None) != ("mean" not in declared(stage)):
            found = "declares mean, and pools nothing" if stage.pooled is None else "pools, and declares no mean"
            fail(f"stage {number} {found}", "give pooled, and a run that declares mean, or neither")
        if enlarged and "lr" in declared(stage):
            fail(
                f"stage {number} declares lr, and one before it enlarges", "let the stage that enlarges make use of lr"
            )
        y = _made(stage, x, lr)
        wanted = [side * stage.scale for side in x.shape[2:]]
        if list(y.shape[2:]) != wanted:
            found = f"stage {number} makes {list(y.shape[2:])} of {list(x.shape[2:])}, not {wanted}"
            fail(found, "state by how much it enlarges: Stage(run, halo=3, scale=2)")
        x, enlarged = y, enlarged or stage.scale != 1
    with torch.no_grad():
        sr = network(lr)
    if _differ(sr, x):
        what = "another size" if x.shape != sr.shape else f"values that differ by {largest(x - sr):.2g}"
        fail(f"its stages make SR of {what}", "let forward and stages() call the same methods")


def strips_make_up_the_stages(subject: Subject) -> None:
    """Of each stage, rows computed of a strip with `halo` more above and below are those computed of the whole image:
    what sees more takes the mean of what it `pooled`, each pixel of which depends on that pixel alone."""
    for _, stages in _stages_of(subject):
        _refuse_other_strips(stages)


def _refuse_other_strips(stages: Sequence[Stage]) -> None:
    lr = x = _strip(2 * max(stage.halo for stage in stages) + 3 * ROWS)
    for number, stage in enumerate(stages, 1):
        first = stage.halo + ROWS
        inside, around = slice(first, first + ROWS), slice(ROWS, first + ROWS + stage.halo)
        if stage.pooled is not None:
            whole, part = stage.pooled(x), stage.pooled(x[:, :, inside])
            if _differ(whole[:, :, inside], part):
                instead = "let the stage before make it, and pool that"
                fail(f"what stage {number} pools depends on more than its pixel", instead)
        y = _made(stage, x, lr)
        part = _made(stage, x[:, :, around], lr[:, :, around], of=x)
        whole = y[:, :, first * stage.scale : (first + ROWS) * stage.scale]
        part = part[:, :, stage.halo * stage.scale : (stage.halo + ROWS) * stage.scale]
        if _differ(whole, part):
            off = largest(whole - part)
            fail(
                f"rows of stage {number} differ by {off:.2g} with {stage.halo} more of its input above and below",
                "state how many it takes as halo, and give what sees all of the image as pooled",
            )
        if stage.scale != 1:
            return  # an image that grows from stage to stage would be a large one
        x = y


def halo_is_as_stated(subject: Subject) -> None:
    """Where it states a `halo`, SR of a window is the whole image's but for so many LR pixels at the window's edges."""
    halo = subject.facts.get("halo")
    if halo is None:
        raise Inapplicable("it does not state a halo; it is measured")
    network = _strong(subject)
    step = subject.facts.get("multiple_of", 1)
    cut, kept = -(-16 // step) * step, 16
    height, width = (-(-side // step) * step for side in (24, cut + halo + kept))
    x = torch.rand(1, 3, height, width)
    with torch.no_grad():
        whole, part = (enlarge(network, image, (2 * image.shape[2], 2 * image.shape[3])) for image in (x, x[..., cut:]))
    end = (width - cut - halo) * (part.shape[3] // (width - cut))
    if _differ(whole[..., -end:], part[..., -end:]):
        off = largest(whole[..., -end:] - part[..., -end:])
        fail(
            f"a halo of {halo} is stated, and SR further from a window's edge differs by {off:.2g}",
            "add up what the layers see: a 3x3 convolution one pixel; or leave out the fact: then it is measured",
        )


CHECKS = (
    Check(stages_make_up_the_network),
    Check(strips_make_up_the_stages, needs=(stages_make_up_the_network,)),
    Check(halo_is_as_stated),
)


def _strong(subject: Subject) -> nn.Module:
    torch.manual_seed(1)
    return stirred(subject.make(), 1.5).eval()


def _stages_of(subject: Subject) -> list[tuple[nn.Module, Sequence[Stage]]]:
    """Return the network with its stages, and its form for inference with those of that where it offers one."""
    network = _strong(subject)
    forms = [network, for_inference(network)] if offers_form(network) else [network]
    found = [(form, stages) for form in forms if (stages := stages_of(form, (2**10, 2**10)))]
    if not found:
        raise Inapplicable("it offers no stages")
    return found


def _strip(height: int) -> Tensor:
    return (
        torch.rand(1, 3, height, WIDTH) * torch.linspace(0.1, 1, height)[:, None]
    )  # its means differ from the image's


@torch.no_grad()
def _made(stage: Stage, x: Tensor, lr: Tensor, of: Tensor | None = None) -> Tensor:
    """Return what a stage makes of rows, with the mean over the image that they are `of`."""
    mean = None if stage.pooled is None else stage.pooled(x if of is None else of).mean((2, 3))
    return run(stage, x, lr, mean)


def _differ(a: Tensor, b: Tensor) -> bool:
    return a.shape != b.shape or largest(a - b) > SAME * max(largest(a), 1e-30)
