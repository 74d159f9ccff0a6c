"""What minimises one objective: parameters, their optimizer and schedule, and the count of updates that went wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from srkit.engine.builder import Builder
from srkit.engine.distributed import ALONE, World
from srkit.engine.learning.exchange import Tree, sum_gradients
from srkit.engine.learning.objective import Objective, Opposing, Term, Weighted, trainable
from srkit.engine.learning.prediction import Prediction
from srkit.errors import ComponentError
from srkit.recipe.recipe import Adversary, Recipe

NETWORK = "network"  # the name of the learner that trains the network


class Learner:
    """Parameters that minimise one objective. Those of an optimizer's groups are the ones that learn."""

    def __init__(
        self,
        name: str,
        objective: Objective,
        optimizer: Optimizer,
        schedule: Callable[[int], float],
        clipped: Iterable[nn.Parameter] | None = None,
    ) -> None:
        self.name, self.objective, self.optimizer, self.schedule = name, objective, optimizer, schedule
        self.parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self.base_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._rates: list[float] | None = None  # where the optimizer has them on the device
        self._clipped = list(self.parameters if clipped is None else clipped)
        self._world: World = ALONE
        self._modules: Sequence[nn.Module] = ()
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}  # parts of batches in each sum

    def prepare(self, device: torch.device, precision: torch.dtype, clip: float, *, ordered: bool = False) -> None:
        """Get ready for a device, a precision and the largest norm of gradients (0 for none), before the first step.

        `ordered`: gradients are summed in a binary tree over the parts of a batch.
        """
        self._clip, self._ordered, self._tree = clip, ordered, Tree()
        # Beside scaling for float16, torch's scaler leaves out an update whose gradients are not finite, without a
        # synchronisation where the optimizer is fused; so it serves every precision, with a scale of 1.
        self._scaled = precision == torch.float16
        scale = 2.0**16 if self._scaled else 1.0
        self.scaler = torch.amp.GradScaler(device.type, init_scale=scale, enabled=self._scaled or device.type != "mps")
        self._spoilt = torch.zeros((), dtype=torch.bool, device=device)  # an objective of this update is not finite
        self._bad = torch.zeros((), device=device)
        self._worst = torch.zeros((), device=device)

    def share(self, world: World, modules: Sequence[nn.Module]) -> None:
        """Learn with other processes, which get the buffers that the modules have in the first one."""
        self._world, self._modules = world, modules

    @property
    def total(self) -> str:
        """What its objective is called in logs."""
        return "loss" if self.name == NETWORK else f"{self.name}.adversary"

    def learn(self, prediction: Prediction, step: int) -> tuple[str, ...]:
        """Add a part of a batch to the gradients of the parameters; return the names of the losses that were computed,
        none where the objective is not due at this step. What it keeps are tensors that stay where they are."""
        value = self.objective(prediction, step)
        if value is None:
            return ()
        losses = {**value.losses, self.total: value.total}
        for name, loss in losses.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(loss, requires_grad=False)
            self._sums[name] += loss.detach()
        self._spoilt |= ~value.total.detach().isfinite()
        # Confined: what a loss's adversary computes for the network leaves no gradient in the adversary, nor the
        # other way round.
        torch.autograd.backward(self.scaler.scale(value.total), inputs=self.parameters)
        if self._ordered:
            self._tree.take(self.parameters)
        return tuple(losses)

    def count(self, losses: Iterable[str]) -> None:
        """Count that these losses were computed for a part of a batch."""
        for name in losses:
            self._counts[name] = self._counts.get(name, 0) + 1

    def set_rates(self, step: int) -> None:
        """Give the optimizer the learning rates of a step."""
        rates = self.rates(step)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            if self._rates is None:
                group["lr"] = rate
            else:
                group["lr"].fill_(rate)
        self._rates = None if self._rates is None else rates

    @property
    def current_rates(self) -> list[float]:
        """The learning rate of each of the optimizer's groups, as it was last set."""
        return [group["lr"] for group in self.optimizer.param_groups] if self._rates is None else self._rates

    def keep_rates_on_device(self) -> None:
        """Keep the learning rates on the device, where a recorded update reads them."""
        self._rates = self.current_rates
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = torch.tensor(rate, device=self._bad.device)
            if "capturable" in group:
                group["capturable"] = True

    def tensors(self) -> dict[str, list[Tensor]]:
        """Return what an update changes beside parameters, by kind: the optimizer's state, and the learner's counts."""
        found: dict[str, list[Tensor]] = {"losses": list(self._sums.values())}
        for values in self.optimizer.state.values():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    found.setdefault(name, []).append(value)
        found["counts"] = [self._spoilt, self._bad, self._worst]
        found["counts"] += [t for t in (self.scaler._scale, self.scaler._growth_tracker) if t is not None]
        return found

    def abandon(self) -> None:
        """Forget an update that was begun and cannot be ended."""
        self.optimizer.zero_grad(set_to_none=True)
        self._tree = Tree()
        state = self.scaler.state_dict()
        self.scaler.update(state["scale"] if state else None)

    def update(self) -> None:
        """Update the parameters once, by the gradients that there are, which it takes away."""
        if self._ordered:
            self._tree.give(self.parameters)
        if self._world.size > 1:
            given = self._world, self.parameters, self._modules, self._spoilt
            self._spoilt.copy_(sum_gradients(*given, ordered=self._ordered))
        if self._clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._clipped, self._clip)
        self.scaler.step(self.optimizer)
        self._count_bad()
        self.scaler.update(None if self._scaled else 1.0)
        self.optimizer.zero_grad(set_to_none=True)

    def rates(self, step: int) -> list[float]:
        """Return the learning rate of each of the optimizer's groups at a step."""
        return [rate * self.schedule(step) for rate in self.base_rates]

    def _count_bad(self) -> None:
        """Count the updates in a row whose objective or gradients were not finite, without waiting for the device."""
        bad = self._spoilt
        if self.scaler.is_enabled():
            scale = self.scaler._scale
            assert scale is not None  # since the first loss
            for found in self.scaler._found_inf_per_device(self.optimizer).values():  # what it left the update out for
                # In float16 gradients are too large until the scale is found; where that is small, it is not the cause.
                bad = bad | (found > 0) & (scale <= 1)
        self._bad.copy_(torch.where(bad, self._bad + 1, 0))
        torch.maximum(self._worst, self._bad, out=self._worst)
        self._spoilt.zero_()

    def collect(self) -> None:
        """Bring the sums of the losses of all processes to the first one, where they are logged and saved."""
        if self._world.size > 1 and self._sums:
            sums = torch.stack([total.reshape(()) for total in self._sums.values()])
            self._world.sum([sums])
            for own, total in zip(self._sums.values(), sums.unbind(), strict=True):
                own.copy_(total)
            self.leave_to_first()

    def leave_to_first(self) -> None:
        """Begin the sums of the losses anew in all processes but the first one, which has those of all."""
        if not self._world.is_first:
            self._begin_sums()

    def means(self, parts: int) -> dict[str, float]:
        """Return the mean of each loss over the updates since the last call that it counted in; `parts` is how many
        parts a batch has. This waits for the device."""
        means = {name: float(self._sums[name]) / max(1, count // parts) for name, count in self._counts.items()}
        self._begin_sums()
        self._counts = {}
        return means

    def _begin_sums(self) -> None:
        for total in self._sums.values():
            total.zero_()

    @property
    def is_bad(self) -> bool:
        """Whether its last update was left out, since its objective or gradients were not finite; waits as above."""
        return float(self._bad) > 0

    @property
    def worst(self) -> int:
        """The most updates in a row that were left out; waits as above."""
        return int(self._worst)

    def spoilt_losses(self) -> list[str]:
        """Return which losses have not been finite since the last call of `means`, where it has several."""
        losses = [name for name in self._counts if name != self.total]
        return [name for name in losses if len(losses) > 1 and not math.isfinite(float(self._sums[name]))]

    def counts(self) -> dict[str, Any]:
        """Return the sums of the losses since the last `means`, and how many updates in a row were not finite.

        With these a continued run logs, and ends, as a straight one would. As JSON has it, non-finite numbers included.
        """
        sums = {name: float(self._sums[name]) for name in self._counts}
        counted = max(self._counts.values(), default=0)
        return {
            "losses": sums | {"": float(counted)},
            "counts": dict(self._counts),
            "bad": float(self._bad),
            "worst": float(self._worst),
        }

    def take_counts(self, counts: Mapping[str, Any]) -> None:
        """Go on from `counts`; those of srkit 0.1 have one count for all losses, and of bad updates none."""
        sums = dict(counts["losses"])
        counted = int(sums.pop(""))
        self._sums = {name: torch.tensor(total, device=self._bad.device) for name, total in sums.items()}
        self._counts = {name: counts.get("counts", {}).get(name, counted) for name in sums}
        self._bad.fill_(counts.get("bad", 0.0))
        self._worst.fill_(counts.get("worst", 0.0))


def network_learner(
    network: nn.Module, terms: Sequence[Term], optimizer: Optimizer, schedule: Callable[[int], float]
) -> Learner:
    """Return what trains a network to minimise its losses."""
    return Learner(NETWORK, Weighted(terms), optimizer, schedule, clipped=network.parameters())


def make_learners(builder: Builder, recipe: Recipe, network: nn.Module, terms: Sequence[Term]) -> list[Learner]:
    """Return what trains: the network's learner first, then one for each loss's adversary."""
    optimizer = builder.optimizer(recipe.optimizer, trainable(network, terms))
    learners = [network_learner(network, terms, optimizer, builder.make(recipe.schedule, **recipe.words))]
    for part, term in zip(recipe.loss, terms, strict=True):
        if term.adversary is None:
            continue
        own = part.adversary or Adversary()
        parameters = [(name, p) for name, p in term.adversary.named_parameters() if p.requires_grad]
        try:
            optimizer = builder.optimizer(own.optimizer or recipe.optimizer, parameters)
        except ComponentError as error:
            if own.optimizer is not None:
                raise
            cure = "it takes the recipe's optimizer, and may have another: adversary.optimizer"
            raise ComponentError(f"the adversary of loss '{term.name}': {error}; {cure}") from None
        schedule = builder.make(own.schedule or recipe.schedule, **recipe.words)
        learners.append(Learner(term.name, Opposing(term, own.from_step, own.every), optimizer, schedule))
    return learners
