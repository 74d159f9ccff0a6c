"""The training loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import attrs
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from srkit.engine.data.batches import Batch
from srkit.engine.data.sampling import step_seed
from srkit.engine.distributed import ALONE, World
from srkit.engine.learning.average import average_of
from srkit.engine.learning.compiling import compiled, plain
from srkit.engine.learning.learner import NETWORK, Learner, network_learner
from srkit.engine.learning.objective import Term
from srkit.engine.learning.prediction import WORDS, Prediction, hr_at, split, words_of
from srkit.engine.memory import lacks_memory
from srkit.errors import RunFailed
from srkit.plugin.settings import named
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


class Work(Protocol):
    """The work of a step on the device: the trainer's own, or recorded and replayed."""

    def learn(self, part: Batch, number: int) -> dict[Learner, tuple[str, ...]]:
        """Add a part of a batch to the gradients; return which learners were due, with the losses they computed."""

    def update(self, due: Iterable[Learner]) -> None:
        """Update what learns by the gradients that there are, and the average."""


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
    ordered: bool = False  # gradients are summed in a binary tree over the parts of a batch

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
            ordered=train.deterministic == "elastic",
        )


class Trainer:
    """Updates a network, and what learns beside it, step by step. `done` counts the updates; it is the only clock.

    The first of the learners is the network's. Of several processes each is given its share of a batch, which it
    computes in `parts`.
    """

    def __init__(
        self,
        network: nn.Module,
        terms: Sequence[Term],
        learners: Sequence[Learner],
        device: torch.device,
        options: Options,
        world: World = ALONE,
    ) -> None:
        self.network, self.learners, self.device, self.options = network, list(learners), device, options
        self.world, self.parts = world, -(-options.accumulate // world.size)
        self.done = 0
        self.replaying: Callable[[Sequence[Batch]], Work] | None = None  # what does the work of a step of such parts
        self.losses = nn.ModuleList(term.loss for term in terms if isinstance(term.loss, nn.Module))
        self._declared = named(network.forward, WORDS)  # looked up once, not in each step
        self.forward = compiled(network) if options.compile else network
        self.ema = average_of(network, options.ema, self.learners[0].optimizer)
        for learner in self.learners:
            learner.prepare(device, options.precision, options.clip, ordered=options.ordered)
            learner.share(world, [network, self.losses])

    @property
    def averaged(self) -> nn.Module:
        """The network to score and to keep: the moving average where there is one."""
        return self.network if self.ema is None else self.ema.module

    @property
    def learner(self) -> Learner:
        """The network's learner."""
        return self.learners[0]

    def scoring(self) -> contextlib.AbstractContextManager[None]:
        """Return the context in which `averaged` is called for images of any size."""
        return plain() if self.options.compile else contextlib.nullcontext()

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
        due: dict[Learner, None] = {}
        parts = list(batch.parts(self.parts))
        work = self if self.replaying is None else self.replaying(parts)
        for number, part in enumerate(parts):
            torch.manual_seed(step_seed(self.options.seed, self.done, self.world.rank * self.parts + number))
            for learner, losses in work.learn(part, number).items():
                learner.count(losses)
                due[learner] = None
        for learner in due:
            learner.set_rates(self.done)
        work.update(due)
        self.done += 1

    def learn(self, part: Batch, number: int) -> dict[Learner, tuple[str, ...]]:
        """Add a part of a batch to the gradients; return which learners were due, with the losses they computed."""
        prediction = self.predict(part)
        learnt = {learner: learner.learn(prediction, self.done) for learner in self.learners}
        return {learner: losses for learner, losses in learnt.items() if losses}

    def update(self, due: Iterable[Learner]) -> None:
        """Update what learns by the gradients that there are, and the average."""
        for learner in due:
            learner.update()
        if self.ema is not None:
            self.ema.update(self.network, first=self.done == 0)

    def fits(self, batches: BatchSource, parts: int) -> bool:
        """Say whether the memory is enough for a step whose batch is computed in so many parts; nothing is updated."""
        for learner in self.learners:
            learner.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            prediction = self.predict(next(batches[self.done].parts(parts)))
            for learner in self.learners:
                learner.learn(prediction, self.done)
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
            return False
        return True

    def predict(self, part: Batch) -> Prediction:
        """Return what the network makes of a part of a batch."""
        with self.autocast():
            sr, extras = split(self.forward(part.lr, **words_of(self.network, part, self._declared)))
        return Prediction(
            part.lr,
            hr_at(part),
            sr.float(),
            extras,
            share=1 / (self.parts * self.world.size),
            autocast=self.autocast,
            average=None if self.ema is None else lambda: self._of_average(part),
        )

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which networks compute: `train.precision`."""
        precision = self.options.precision
        return torch.autocast(self.device.type, precision, enabled=precision != torch.float32)

    @torch.no_grad()
    def _of_average(self, part: Batch) -> Tensor:
        network = self.averaged.eval()  # a copy, of which nothing is compiled
        with self.autocast():
            sr: Tensor = split(network(part.lr, **words_of(network, part, self._declared)))[0]
        return sr.float()

    def read_losses(self) -> dict[str, float]:
        """Return the mean of each loss over the updates since the last call; this waits for the device."""
        means: dict[str, float] = {}
        for learner in self.learners:
            means |= learner.means(self.parts)
        return means

    def collect_losses(self) -> None:
        """Bring the losses of all processes to the first one, where they are logged and saved."""
        for learner in self.learners:
            learner.collect()

    def refuse_bad_end(self) -> None:
        """Raise Diverged where the last update had to be left out: then no more is known of where the run is going."""
        for learner in self.learners:
            if learner.is_bad:
                raise Diverged(
                    f"{_what(learner)} not finite at the last step, {self.done}; "
                    f"try {_lower(learner)}, or train.clip, with --restart"
                )

    def _refuse_divergence(self) -> None:
        for learner in self.learners:
            if learner.worst < PATIENCE:
                continue
            precision = "" if self.options.precision == torch.float32 else ", or train.precision=float32"
            advice = f"try {_lower(learner)}, or train.clip{precision}, with --restart"
            if self.done <= PATIENCE:
                advice = "non-finite from the start: look at the network's output and at the losses"
            spoilt = learner.spoilt_losses()
            named = f" ({', '.join(spoilt)})" if spoilt else ""
            what = f"{_what(learner)} not finite{named}"
            raise Diverged(f"{what} for {PATIENCE} updates in a row, up to step {self.done}; {advice}")


def _what(learner: Learner) -> str:
    of = "" if learner.name == NETWORK else f" of the adversary of '{learner.name}'"
    return f"the loss{of} or its gradients were"


def _lower(learner: Learner) -> str:
    return "a lower optimizer.lr" if learner.name == NETWORK else "a lower optimizer.lr in [loss.adversary]"


def trainer_of(
    network: nn.Module,
    terms: Sequence[Term],
    optimizer: Optimizer,
    schedule: Callable[[int], float],
    device: torch.device,
    options: Options,
) -> Trainer:
    """Return the trainer of a network alone, without a recipe."""
    return Trainer(network, terms, [network_learner(network, terms, optimizer, schedule)], device, options)
