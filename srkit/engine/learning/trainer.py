"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srkit.engine.data.batches import Batch
from srkit.engine.data.sampling import step_seed
from srkit.engine.learning.objective import WeightedLoss
from srkit.errors import RunFailed
from srkit.recipe.recipe import Recipe

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PATIENCE = 10  # updates in a row whose loss is not finite before a run counts as diverged


class Diverged(RunFailed):
    """Raised when the loss or its gradients have not been finite for PATIENCE updates in a row.

    The weights are the last good ones, since such updates are left out.
    """


@attrs.frozen
class Duty:
    """Something to do every so many steps, and at the last one."""

    every: int
    do: Callable[[], None]


class BatchSource(Protocol):
    """`batches[step]` is the batch of a step."""

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, on the device."""


@attrs.frozen
class Options:
    """How a trainer trains; see `[train]` of a recipe."""

    steps: int
    seed: int
    precision: torch.dtype = torch.float32
    compile: bool = False
    ema: float = 0.0
    clip: float = 0.0
    accumulate: int = 1

    @staticmethod
    def of(recipe: Recipe) -> Options:
        """Return what a recipe's `[train]` asks for."""
        train = recipe.train
        return Options(
            steps=train.steps,
            seed=recipe.seed,
            precision=PRECISIONS[train.precision],
            compile=train.compile,
            ema=train.ema,
            clip=train.clip,
            accumulate=train.accumulate,
        )


def _detach_computed(network: nn.Module) -> None:
    """Detach tensors that modules have computed and keep: torch copies none that has a history.

    The first weight norm and spectral norm of torch keep a layer's weight so; they compute it anew for each call.
    """
    for module in network.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                vars(module)[name] = value.detach()


class Trainer:
    """Updates a network step by step. `done` counts the updates; it is the only clock."""

    def __init__(
        self,
        network: nn.Module,
        losses: Sequence[WeightedLoss],
        optimizer: Optimizer,
        schedule: Callable[[int], float],
        device: torch.device,
        options: Options,
    ) -> None:
        self.network, self.optimizer, self.schedule = network, optimizer, schedule
        self.device, self.options = device, options
        self.done = 0
        self.weighted = list(losses)
        self.losses = nn.ModuleList(loss.function for loss in losses if isinstance(loss.function, nn.Module))
        self.forward = torch.compile(network) if options.compile else network
        self.ema: AveragedModel | None = None
        if options.ema:
            average = get_ema_multi_avg_fn(options.ema)  # type: ignore[no-untyped-call]
            _detach_computed(network)
            # Without buffers, which are copied: averaged, a table of indices and a mask of -inf would be spoilt.
            self.ema = AveragedModel(network, multi_avg_fn=average, use_buffers=False)
        # Beside scaling for float16, torch's scaler leaves out an update whose gradients are not finite, without a
        # synchronisation where the optimizer is fused; so it serves every precision, with a scale of 1.
        self.scaled = options.precision == torch.float16
        scale = 2.0**16 if self.scaled else 1.0
        self.scaler = torch.amp.GradScaler(device.type, init_scale=scale, enabled=self.scaled or device.type != "mps")
        self.base_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._sums: dict[str, Tensor] = {}
        self._summed = 0
        self._spoilt = torch.zeros((), dtype=torch.bool, device=device)  # a loss of this update is not finite
        self._bad = torch.zeros((), device=device)
        self._worst = torch.zeros((), device=device)

    @property
    def averaged(self) -> nn.Module:
        """The network to score and to keep: the moving average where there is one."""
        return self.network if self.ema is None else self.ema.module

    def fit(self, batches: BatchSource, duties: Sequence[Duty], stopping: Callable[[], bool]) -> None:
        """Train to the last step, or until `stopping()`. Raises Diverged."""
        self.network.train()
        while self.done < self.options.steps and not stopping():
            self.step(batches[self.done])
            due = [duty for duty in duties if self.done % duty.every == 0 or self.done == self.options.steps]
            if due or self.device.type == "cpu":  # elsewhere a look each step would wait for the device
                self._refuse_divergence()
            if self.done == self.options.steps:
                self.refuse_bad_end()
            for duty in due:
                duty.do()

    def step(self, batch: Batch) -> None:
        """Update the weights once, with a batch."""
        torch.manual_seed(step_seed(self.options.seed, self.done))
        for group, rate in zip(self.optimizer.param_groups, self.learning_rates(self.done), strict=True):
            group["lr"] = rate

        for part in batch.parts(self.options.accumulate):
            with torch.autocast(
                self.device.type, self.options.precision, enabled=self.options.precision != torch.float32
            ):
                sr = self.forward(part.lr)
            loss = self._loss(sr.float(), part.hr)
            torch.autograd.backward(self.scaler.scale(loss))

        if self.options.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        self.scaler.step(self.optimizer)
        self._count_bad()
        self.scaler.update(None if self.scaled else 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update_parameters(self.network)
        self.done += 1

    def learning_rates(self, step: int) -> list[float]:
        """Return the learning rate of each of the optimizer's groups at a step."""
        return [rate * self.schedule(step) for rate in self.base_rates]

    def _loss(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the weighted sum of the losses for a part of a batch, and keep what each came to."""
        total = sr.new_zeros(())
        for loss in self.weighted:
            share = 1 if loss.is_sum else 1 / self.options.accumulate
            value = loss.function(sr, hr) * share
            total = total + loss.weight * value
            self._note(loss.name, value)
        self._note("loss", total)
        self._spoilt |= ~total.detach().isfinite()
        return total

    def _count_bad(self) -> None:
        """Count the updates in a row whose loss or gradients were not finite, without waiting for the device."""
        bad = self._spoilt
        if self.scaler.is_enabled():
            scale = self.scaler._scale
            assert scale is not None  # since the first loss
            for found in self.scaler._found_inf_per_device(self.optimizer).values():  # what it left the update out for
                # In float16 gradients are too large until the scale is found; where that is small, it is not the cause.
                bad = bad | (found > 0) & (scale <= 1)
        self._bad = torch.where(bad, self._bad + 1, 0)
        self._worst = torch.maximum(self._worst, self._bad)
        self._spoilt = torch.zeros_like(self._spoilt)

    def _note(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums.get(name, 0) + value.detach()
        self._summed += name == "loss"

    def read_losses(self) -> dict[str, float]:
        """Return the mean of each loss over the updates since the last call; this waits for the device."""
        updates = max(1, self._summed // self.options.accumulate)
        means = {name: float(total) / updates for name, total in self._sums.items()}
        self._sums, self._summed = {}, 0
        return means

    def counts(self) -> dict[str, Any]:
        """Return the sums of the losses since the last `read_losses`, and how many updates in a row were not finite.

        With these a continued run logs, and ends, as a straight one would. As JSON has it, non-finite numbers included.
        """
        sums = {name: float(total) for name, total in self._sums.items()} | {"": float(self._summed)}
        return {"losses": sums, "bad": float(self._bad), "worst": float(self._worst)}

    def take_counts(self, counts: Mapping[str, Any]) -> None:
        """Go on from `counts`; those of srkit 0.1 have the losses alone."""
        sums = counts["losses"]
        self._sums = {name: torch.tensor(total, device=self.device) for name, total in sums.items() if name}
        self._summed = int(sums[""])
        self._bad.fill_(counts.get("bad", 0.0))
        self._worst.fill_(counts.get("worst", 0.0))

    def refuse_bad_end(self) -> None:
        """Raise Diverged where the last update had to be left out: then no more is known of where the run is going."""
        if float(self._bad) > 0:
            raise Diverged(
                f"the loss or its gradients were not finite at the last step, {self.done}; "
                "try a lower optimizer.lr, or train.clip, with --restart"
            )

    def _refuse_divergence(self) -> None:
        if float(self._worst) >= PATIENCE:
            advice = "try a lower optimizer.lr, or train.clip"
            if self.options.precision != torch.float32:
                advice += ', or precision = "float32"'
            if self.done <= PATIENCE:
                advice = "non-finite from the start: look at the network's output and at the losses"
            what = "the loss or its gradients were not finite"
            spoilt = [name for name, total in self._sums.items() if name != "loss" and not math.isfinite(float(total))]
            if len(self.weighted) > 1 and spoilt:
                what += f" ({', '.join(spoilt)})"
            raise Diverged(f"{what} for {PATIENCE} updates in a row, up to step {self.done}; {advice}")
