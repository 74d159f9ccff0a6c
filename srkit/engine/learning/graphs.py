"""The work of a step recorded once, and replayed: one launch in place of a thousand.

A super-resolution network has some thousand small kernels in a step, and on a fast GPU it takes longer to launch them
one by one than to compute them. A CUDA graph is launched as a whole. It computes what was recorded, with the tensors
that were there: so batches are copied to where the first one was, learning rates are tensors, and steps that differ in
anything else are recorded apart. The first replay is compared with the plain step; where they differ, or where
something cannot be recorded, training goes on plainly, and says why.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import attrs
import torch
from torch import Tensor, nn

from srkit.engine.data.batches import Batch
from srkit.engine.learning.learner import Learner
from srkit.engine.learning.trainer import Trainer, Work
from srkit.errors import describe

log = logging.getLogger("srkit")
T = TypeVar("T")

WARM_UP = 3  # plain steps of a kind before it is recorded: algorithms are chosen, and the optimizer's state is made
MOST = 8  # kinds of steps that are recorded; each keeps its activations
MOST_SEEN = 1_000  # kinds that are met before recording is given up
TOLERANCE = 0.05  # of a change: sums on a GPU have no fixed order, and a step with another batch differs by about 1


class Recorder(Protocol):
    """Records work on a device."""

    def record(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """Return what `work` returns, and what does its work on the device again, on the same tensors.

        The work is not done while it is recorded. Raises anything where it cannot be recorded.
        """


class CudaRecorder:
    """Records CUDA graphs, which share their memory: they are replayed in the order in which they were recorded."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """Return what `work` returns, and the graph's replay."""
        graph, spoilt = torch.cuda.CUDAGraph(), None
        try:
            with (
                torch.cuda.device(self._device),
                torch.cuda.stream(torch.cuda.current_stream(self._device)),  # which torch leaves where recording fails
                # Other threads go on: they fill batches and write checkpoints, and wait for events, which would spoil a
                # recording that heeds them ("global").
                torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"),
            ):
                try:
                    returned = work()
                except Exception as error:
                    spoilt = error
                    raise
        except Exception as error:  # the end of a spoilt recording is an error, too, which says less
            raise spoilt or error from None
        return returned, graph.replay


class Graphs:
    """Decides for each step how its work is done. `refusal` says why nothing is recorded any more, or is empty.

    `exact`: a replay must have the bits of the plain step, since the run promises its bits.
    """

    def __init__(self, trainer: Trainer, recorder: Recorder, *, exact: bool) -> None:
        self._trainer, self._recorder, self._exact = trainer, recorder, exact
        self._seen: Counter[Hashable] = Counter()
        self._recordings: dict[Hashable, Recording] = {}
        self.refusal = ""
        if reason := _reason_against(trainer):
            self._refuse(reason)
            return
        for learner in trainer.learners:
            learner.keep_rates_on_device()

    def __call__(self, parts: Sequence[Batch]) -> Work:
        """Return what does the work of the trainer's next step, whose batch has these parts."""
        if self.refusal:
            return self._trainer
        kind = self._kind(parts)
        self._seen[kind] += 1
        if any(part.draws is not None for part in parts):
            self._refuse("the network is given draws")
        elif len(self._seen) > MOST_SEEN:
            self._refuse("batches, or the weights of losses, differ from step to step")
        elif self._seen[kind] > WARM_UP:
            if kind not in self._recordings and len(self._recordings) < MOST:
                self._record(kind, parts)
                return self._trainer
            if kind in self._recordings:
                recording = self._recordings[kind]
                return recording if recording.is_right else self._compare(recording)
        return self._trainer

    @property
    def recorded(self) -> int:
        """How many kinds of steps have been recorded and found right."""
        return sum(recording.is_right for recording in self._recordings.values())

    def _compare(self, recording: Recording) -> Comparison:
        def conclude(difference: str) -> None:
            recording.is_right = not difference
            if difference:
                self._refuse(f"a replayed step leaves other {difference} than a plain one")
            elif self.recorded == 1:
                log.info("each step is launched as one CUDA graph from step %d on", self._trainer.done + 2)

        return Comparison(self._trainer, recording, self._exact, conclude)

    def _kind(self, parts: Sequence[Batch]) -> Hashable:
        objectives = tuple(learner.objective.at(self._trainer.done) for learner in self._trainer.learners)
        shapes = tuple((part.size, *((t.shape, t.stride()) for t in _tensors(part))) for part in parts)
        return objectives, shapes

    def _record(self, kind: Hashable, parts: Sequence[Batch]) -> None:
        trainer = self._trainer
        try:
            with _none_replaced([trainer.network, trainer.losses]):
                self._recordings[kind] = Recording(trainer, self._recorder, parts)
        except Exception as error:
            for learner in trainer.learners:
                learner.abandon()
            self._refuse(describe(error))

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        self._recordings.clear()
        log.info("each step is launched kernel by kernel, not as a CUDA graph: %s", reason)


class Recording:
    """The work of steps of one kind. `is_right`: a replay was compared with the plain step."""

    def __init__(self, trainer: Trainer, recorder: Recorder, parts: Sequence[Batch]) -> None:
        self.is_right = False
        self._parts = [_copied(part) for part in parts]
        self._learnt: list[dict[Learner, tuple[str, ...]]] = []
        self._replays: list[Callable[[], None]] = []
        for number, part in enumerate(self._parts):

            def learn(part: Batch = part, number: int = number) -> dict[Learner, tuple[str, ...]]:
                return trainer.learn(part, number)

            learnt, replay = recorder.record(learn)
            self._learnt.append(learnt)
            self._replays.append(replay)
        due = {learner: None for learnt in self._learnt for learner in learnt}
        _, self._update = recorder.record(lambda: trainer.update(due))

    def learn(self, part: Batch, number: int) -> dict[Learner, tuple[str, ...]]:
        """Replay the work on a part of a batch; chance is the generator's, as in the plain step."""
        for own, given in zip(_tensors(self._parts[number]), _tensors(part), strict=True):
            own.copy_(given)
        self._replays[number]()
        return self._learnt[number]

    def update(self, due: Iterable[Learner]) -> None:
        """Replay the update."""
        self._update()


class Comparison:
    """A plain step, which is done again by a replay; the state that is left is the plain step's."""

    def __init__(self, trainer: Trainer, recording: Recording, exact: bool, conclude: Callable[[str], None]) -> None:
        self._trainer, self._recording, self._exact, self._conclude = trainer, recording, exact, conclude
        self._before = _copies(trainer)
        self._parts: list[tuple[Batch, int]] = []  # with the seed of each

    def learn(self, part: Batch, number: int) -> dict[Learner, tuple[str, ...]]:
        """Do a part's work plainly."""
        self._parts.append((part, torch.initial_seed()))
        return self._trainer.learn(part, number)

    def update(self, due: Iterable[Learner]) -> None:
        """Update plainly, then replay the step from the state before, and conclude what they differ in, or ""."""
        self._trainer.update(due)
        plain = _copies(self._trainer)
        _put_back(self._trainer, self._before)
        for number, (part, seed) in enumerate(self._parts):
            torch.manual_seed(seed)
            self._recording.learn(part, number)
        self._recording.update(due)
        replayed = _copies(self._trainer)
        _put_back(self._trainer, plain)
        self._conclude(_difference(self._before, plain, replayed, exact=self._exact))


State = Mapping[str, Sequence[Tensor]]


def _state(trainer: Trainer) -> State:
    """Return every tensor that a step changes, by what it is."""
    modules = [trainer.network, trainer.losses, *([] if trainer.ema is None else [trainer.ema.module])]
    found: dict[str, list[Tensor]] = {
        "weights": [p.detach() for module in modules for p in module.parameters()],
        "buffers": [buffer for module in modules for buffer in module.buffers()],
    }
    for learner in trainer.learners:
        for kind, tensors in learner.tensors().items():
            found.setdefault(kind, []).extend(tensors)
    return found


def _copies(trainer: Trainer) -> State:
    return {kind: [tensor.clone() for tensor in tensors] for kind, tensors in _state(trainer).items()}


def _put_back(trainer: Trainer, copies: State) -> None:
    for kind, tensors in _state(trainer).items():
        for tensor, copy in zip(tensors, copies[kind], strict=True):
            tensor.copy_(copy)


def _difference(before: State, plain: State, replayed: State, *, exact: bool) -> str:
    """Return the first kind of tensors that a replay left otherwise than the plain step did, or ""."""
    for kind, expected in plain.items():
        if exact:
            is_same = all(_bits_are_equal(one, other) for one, other in zip(expected, replayed[kind], strict=True))
        else:
            change, error = _distance(before[kind], expected), _distance(replayed[kind], expected)
            is_same = error <= TOLERANCE * change
        if not is_same:
            return kind
    return ""


def _bits_are_equal(one: Tensor, other: Tensor) -> bool:
    return bool(torch.equal(one, other) or ((one == other) | (one != one) & (other != other)).all())


def _distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    # What is not finite in both is no difference: an update that was left out has such losses.
    squares = [
        (a.double().nan_to_num() - b.double().nan_to_num()).square().sum() for a, b in zip(one, other, strict=True)
    ]
    return math.sqrt(float(torch.stack(squares).sum())) if squares else 0.0


def _copied(part: Batch) -> Batch:
    points = None if part.points is None else part.points.clone()
    return attrs.evolve(part, lr=part.lr.clone(), hr=part.hr.clone(), points=points)


def _tensors(part: Batch) -> list[Tensor]:
    return [part.lr, part.hr, *([] if part.points is None else [part.points])]


def _reason_against(trainer: Trainer) -> str:
    """Return why no step of a trainer can be recorded, or ""."""
    if trainer.world.size > 1:
        return "several processes train together"
    for learner in trainer.learners:
        if learner.objective.reads_step:
            return "a loss is given the number of the step"
        if not all(group.get("fused") for group in learner.optimizer.param_groups):
            return f"{type(learner.optimizer).__name__} is no fused optimizer, so it waits for the device in each step"
    return ""


@contextlib.contextmanager
def _none_replaced(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Raise ValueError where a buffer has become another tensor meanwhile: the recorded work would go on with the old
    one. The old ones are put back."""
    held = [(module, dict(module._buffers)) for root in modules for module in root.modules()]
    replaced = []
    try:
        yield
    finally:
        for module, buffers in held:
            for name, buffer in buffers.items():
                if module._buffers.get(name) is not buffer:
                    replaced.append(f"{type(module).__name__}.{name}")
                    module._buffers[name] = buffer
    if replaced:
        raise ValueError(f"each step puts another tensor in the place of {', '.join(sorted(set(replaced)))}")
