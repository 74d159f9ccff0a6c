"""What a discriminator must do."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from srkit.testing.check import Check, Subject, fail
from srkit.testing.samples import SEED, chance, largest, photographs, refuse_unreached

SIDE = 128  # pixels: what adversarial losses are most often trained on
SAME = 1e-4  # relative: sums of float32 in another order


def gives_logits(subject: Subject) -> None:
    """Of images, float32 [n, 3, h, w] in 0..1, it gives finite logits, float32, of a shape that begins with n."""
    logits: object = _made(subject)(_images())
    if not isinstance(logits, Tensor):
        fail(f"it returns a {type(logits).__name__}", "return one tensor of logits")
    if not logits.dim() or len(logits) != 2:
        fail(f"of 2 images it returns a tensor {list(logits.shape)}", "return logits [n, ...], some of each image")
    if logits.dtype != torch.float32 or not bool(logits.isfinite().all()):
        fail(f"its logits are {logits.dtype} and not all finite", "return finite float32, without a cast on the way")


def gradients_reach_weights_and_images(subject: Subject) -> None:
    """The gradient of its logits reaches all of its parameters that are to be trained, and the images."""
    network = _made(subject)
    images = _images().requires_grad_()
    network(images).square().sum().backward()
    if images.grad is None or not largest(images.grad):
        fail("no gradient reaches the images", "compute with torch alone, without detach() or no_grad() on the way")
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    refuse_unreached(trained, "use them in forward, or leave them out")


def first_weights_follow_the_seed(subject: Subject) -> None:
    """Made twice with the same seed, it has the same weights."""
    first, second = (_made(subject).state_dict() for _ in range(2))
    for name, tensor in first.items():
        if not torch.equal(tensor, second[name]):
            fail(
                f"with the same seed, {name} differs each time",
                "draw first weights from torch's global generator alone",
            )


def images_are_left_alone(subject: Subject) -> None:
    """Images are not written to."""
    images = _images()
    given = images.clone().requires_grad_().mul(1)  # in training SR is no leaf, which torch would guard
    _made(subject)(given)
    if not torch.equal(given, images):
        fail("it changes the images", "take no in-place operation (sub_, *=) on the images themselves")


def memory_layout_does_not_matter(subject: Subject) -> None:
    """With images in channels_last, as training has them by default, its logits are the same."""
    images = _images()
    plain, other = (_made(subject)(x) for x in (images, images.contiguous(memory_format=torch.channels_last)))
    if largest(plain - other) > SAME * max(largest(plain), 1e-30):
        fail("in channels_last its logits are others", "use reshape or flatten, and no view that takes a layout")


CHECKS = (
    Check(gives_logits, first=True, demanded=True),
    Check(gradients_reach_weights_and_images),
    Check(first_weights_follow_the_seed),
    Check(images_are_left_alone),
    Check(memory_layout_does_not_matter),
)


def _made(subject: Subject) -> nn.Module:
    with chance(SEED):
        network: nn.Module = subject.make()
    return network


def _images() -> Tensor:
    return photographs(2, SIDE, SIDE)
