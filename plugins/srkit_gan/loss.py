"""The adversarial loss, in the forms that super-resolution uses."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import srkit

Form = Literal["vanilla", "lsgan", "hinge", "relativistic"]


class Adversarial(nn.Module):
    """How little the discriminator takes SR for HR. It is trained beside the network, to tell one from the other.

    With D its logits: "vanilla" is -log sigmoid(D(sr)), the form of Goodfellow et al. that does not saturate; "lsgan"
    is (D(sr) - 1)^2; "hinge" is -D(sr); "relativistic" is ESRGAN's relativistic average, for which HR, too, has to look
    less real than the mean SR does.

    Args:
        discriminator: what tells HR from SR.
        form: "vanilla", "lsgan", "hinge" or "relativistic".
        r1: weight of R1, half the squared gradient of the logits at HR, which keeps a discriminator smooth; 0 for none.
        r1_every: R1 is computed each so many steps, and then counts as many times.
    """

    autocast = True  # the discriminator runs in train.precision

    def __init__(
        self,
        *,
        discriminator: srkit.Discriminator = "unet",  # type: ignore[assignment]  # a name in place of what is made
        form: Form = "vanilla",
        r1: float = 0.0,
        r1_every: int = 16,
    ) -> None:
        if not 0 <= r1 < math.inf:
            raise ValueError(f"r1 must be 0 at least, not {r1:g}")
        if r1_every < 1:
            raise ValueError(f"r1_every must be at least 1, not {r1_every}")
        super().__init__()
        self.adversary = discriminator
        self.min_size = int(getattr(discriminator, "min_size", 1))  # of patches of HR
        self.form, self.r1, self.r1_every = form, r1, r1_every

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a scalar, which is smaller the more SR looks like HR; both [n, 3, h, w] in 0..1."""
        fake = self.adversary(sr).float()
        if self.form == "vanilla":
            return F.softplus(-fake).mean()
        if self.form == "lsgan":
            return (fake - 1).square().mean()
        if self.form == "hinge":
            return -fake.mean()
        real = self.adversary(hr).float().detach()
        return _relativistic(above=fake, below=real)

    def adversary_loss(self, sr: Tensor, hr: Tensor, *, step: int) -> Tensor:
        """Return the discriminator's own loss, a scalar, for SR without a history."""
        real, fake = self.adversary(hr).float(), self.adversary(sr).float()
        if self.form == "vanilla":
            loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        elif self.form == "lsgan":
            loss = (real - 1).square().mean() + fake.square().mean()
        elif self.form == "hinge":
            loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        else:
            loss = _relativistic(above=real, below=fake)
        if self.phase(step):
            loss = loss + self.r1_every * self.r1 * self._penalty(hr)
        return loss

    def phase(self, step: int) -> bool:
        """Return what the number of a step decides: whether R1 is computed."""
        return self.r1 > 0 and step % self.r1_every == 0

    def _penalty(self, hr: Tensor) -> Tensor:
        """Return half the squared norm of the gradient at HR: Mescheder et al., arXiv:1801.04406. A second derivative,
        of which a lower precision leaves little."""
        with torch.autocast(hr.device.type, enabled=False):
            hr = hr.detach().float().requires_grad_()
            (gradient,) = torch.autograd.grad(self.adversary(hr).sum(), hr, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean() / 2


def _relativistic(*, above: Tensor, below: Tensor) -> Tensor:
    """Return how far the logits of one are from lying above the mean of the other, and these below its mean."""
    return (F.softplus(below.mean() - above).mean() + F.softplus(below - above.mean()).mean()) / 2
