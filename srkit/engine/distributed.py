"""The processes of a run: which of them this is, and the messages between them.

What torchrun sets in the environment is all that is read; torch.distributed does the rest.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from srkit.engine.heartbeat import Limits, keep_watch
from srkit.errors import Elsewhere, RunFailed, UsageError

T = TypeVar("T")

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # that torchrun sets

HANGS = 25.0  # seconds that the others of a step are waited for, and a process that gives no sign of life
WORKS = 600.0  # seconds that one piece of work may take: to score an image, to save, an observer's
PATIENCE = 3_600.0  # seconds for what may take long in one process alone: reading recipe and images, compiling
BUCKET = 2_000_000  # numbers of a message: while one is sent, the next is filled
LOOK = 10  # updates from one look at the others' wish to stop to the next where a look waits for the device


class World:
    """The processes that train a run together, numbered by `rank`. This class is a process alone: all is the identity.

    The first one, of rank 0, alone reads and writes the run directory and logs.
    """

    rank = 0
    size = 1
    local_rank = 0
    local_size = 1  # on this machine

    @property
    def is_first(self) -> bool:
        """Whether this process reads, writes and logs."""
        return self.rank == 0

    def device(self, picked: torch.device) -> torch.device:
        """Return the device of this process, where the recipe's is `picked`. Raises UsageError for too few GPUs."""
        return picked

    def slots(self, batch: int) -> tuple[int, int]:
        """Return this process's share of a batch, [first, last)."""
        return self.rank * batch // self.size, (self.rank + 1) * batch // self.size

    def sum(self, tensors: Sequence[Tensor], *, ordered: bool = False) -> None:
        """Sum each of these tensors over the processes, in place and in few messages.

        `ordered`: in a binary tree over the ranks, so that the bits do not depend on how many there are.
        """

    def heard(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """Return what says, the same in all processes, whether one of them is to stop; it is known after each `sum`."""
        return stop

    def first(self, function: Callable[[], T]) -> T:
        """Return, in all processes, what a function returns in the first one, where alone it is called: as JSON has
        it."""
        return function()

    def broadcast(self, function: Callable[[], bytes]) -> bytes:
        """Return, in all processes, the bytes that a function returns in the first one, where alone it is called."""
        return function()

    def gather(self, own: T, to_bytes: Callable[[T], bytes], of_bytes: Callable[[bytes], T]) -> list[T]:
        """Return what each process has, by rank, in all of them."""
        return [own]

    def begins(self, what: str) -> None:
        """Say what this process is doing from now on, "scoring image3" or "" for what may take long.

        The others give it up where it does not get further within WORKS seconds.
        """

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Say within this context that this process `begins` something."""
        self.begins(what)
        try:
            yield
        finally:
            self.begins("")

    def wait(self) -> None:
        """Wait until all processes are here."""


ALONE = World()


class Lost(RunFailed):
    """Raised where another process of the run has ended, or does not answer."""


class Several(World):
    """This process among others, once they have met."""

    def __init__(self, store: Store, environment: Mapping[str, str]) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.local_rank = int(environment.get("LOCAL_RANK", "0"))
        self.local_size = int(environment.get("LOCAL_WORLD_SIZE", "1"))
        self._store = store
        self._steps = dist.new_group(timeout=timedelta(seconds=HANGS))
        self._sums = 0
        self._stop: Callable[[], bool] = lambda: False
        self._asked = False
        self.work = (0, "")  # how often it has changed, and what it is

    def device(self, picked: torch.device) -> torch.device:
        """Return the GPU of this process, or what was picked where that is none."""
        if picked.type != "cuda":
            return picked
        if str(picked) != "cuda":
            raise UsageError(f"train.device is '{picked}', and {self.size} processes need a GPU each: give \"cuda\"")
        if torch.cuda.device_count() < self.local_size:
            gpus = torch.cuda.device_count()
            raise UsageError(f"{self.local_size} processes need a GPU each, and there are {gpus}: start fewer")
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def sum(self, tensors: Sequence[Tensor], *, ordered: bool = False) -> None:
        """Sum each of these tensors over the processes, in place; whether one is to stop comes with them."""
        stop = tensors[0].new_tensor([float(self._stop())])
        # The first one waits longer: a network may be compiled in one process sooner than in another.
        group = self._steps if self._sums else None
        under_way: list[tuple[list[Tensor], Tensor, Any]] = []
        with _losing():
            for bucket in _buckets((*tensors, stop)):  # while one is sent, the next is filled
                flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
                if ordered:
                    under_way.append((bucket, _sum_in_tree(flat, self.rank, self.size, group), None))
                else:
                    under_way.append((bucket, flat, dist.all_reduce(flat, group=group, async_op=True)))
            for bucket, flat, work in under_way:
                if work is not None:
                    work.wait()
                parts = torch.split(flat, [tensor.numel() for tensor in bucket])
                torch._foreach_copy_(bucket, [part.view_as(t) for part, t in zip(parts, bucket, strict=True)])
        if stop.device.type == "cpu" or self._sums % LOOK == 0:
            self._asked |= float(stop) > 0
        self._sums += 1

    def heard(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """Return what says whether one of the processes is to stop, as of the last `sum`."""
        self._stop = stop
        return lambda: self._asked

    def first(self, function: Callable[[], T]) -> T:
        """Return, in all processes, what a function returns in the first one."""
        return cast("T", json.loads(self.broadcast(lambda: json.dumps(function()).encode())))

    def broadcast(self, function: Callable[[], bytes]) -> bytes:
        """Return, in all processes, the bytes that a function returns in the first one."""
        data = _tensor(function()) if self.is_first else torch.empty(0, dtype=torch.uint8)
        size = torch.tensor([len(data)])
        with _losing():
            dist.broadcast(size, 0)
            data = data if self.is_first else torch.empty(int(size), dtype=torch.uint8)
            dist.broadcast(data, 0)
        return data.numpy().tobytes()

    def gather(self, own: T, to_bytes: Callable[[T], bytes], of_bytes: Callable[[bytes], T]) -> list[T]:
        """Return what each process has, by rank, in all of them."""
        data = _tensor(to_bytes(own))
        sizes = [torch.empty(1, dtype=torch.int64) for _ in range(self.size)]
        with _losing():
            dist.all_gather(sizes, torch.tensor([len(data)]))
            padded = torch.zeros(int(max(map(int, sizes))), dtype=torch.uint8)
            padded[: len(data)] = data
            found = [torch.empty_like(padded) for _ in range(self.size)]
            dist.all_gather(found, padded)
        return [of_bytes(each[: int(size)].numpy().tobytes()) for each, size in zip(found, sizes, strict=True)]

    def begins(self, what: str) -> None:
        """Say what this process is doing from now on, "" for what may take long."""
        self.work = self.work[0] + 1, what

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.gather(b"", bytes, bytes)

    def claim(self, code: int) -> bool:
        """Say whether this process is the first to end with an error, which is then the one that is shown."""
        own = f"{self.rank} {code}"
        with contextlib.suppress(RuntimeError):  # the process that has the store may be gone
            return bool(self._store.compare_set("ended", "", own).decode() == own)
        return True

    def code(self) -> int:
        """Return the exit code of the process that ended first, 1 where it could not tell."""
        with contextlib.suppress(RuntimeError, ValueError):
            if self._store.check(["ended"]):
                return int(self._store.get("ended").split()[1])
        return 1


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Yield the tensors in few groups, each of BUCKET numbers or little more."""
    bucket: list[Tensor] = []
    count = 0
    for tensor in tensors:
        bucket.append(tensor)
        count += tensor.numel()
        if count >= BUCKET:
            yield bucket
            bucket, count = [], 0
    if bucket:
        yield bucket


def _tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


def _sum_in_tree(flat: Tensor, rank: int, size: int, group: Any) -> Tensor:
    """Return the sum over the ranks, a power of two of them, in a binary tree: neighbours first.

    Partners exchange halves and each adds one, and so on with halves of that; then they exchange the sums. So as much
    is sent as in an all-reduce. Of a pair both add the same two numbers, and a + b is b + a.
    """
    length = len(flat)
    flat = torch.nn.functional.pad(flat, (0, -length % size))
    part, levels = flat, []
    for bit in (1 << level for level in range(size.bit_length() - 1)):
        halves = part.chunk(2)
        own, other = halves[rank & bit > 0], halves[rank & bit == 0]
        own += _exchange(other, rank ^ bit, group)
        levels.append((bit, own, other))
        part = own
    for bit, own, other in reversed(levels):
        other.copy_(_exchange(own, rank ^ bit, group))
    return flat[:length]


def _exchange(own: Tensor, partner: int, group: Any) -> Tensor:
    theirs = torch.empty_like(own)
    both = [dist.P2POp(dist.isend, own.contiguous(), partner, group), dist.P2POp(dist.irecv, theirs, partner, group)]
    for work in dist.batch_isend_irecv(both):
        work.wait()
    return theirs


@contextlib.contextmanager
def _losing() -> Iterator[None]:
    """Raise Lost for what torch raises where a process has gone, or is waited for too long."""
    started = time.monotonic()
    try:
        yield
    except RuntimeError as error:
        seconds = time.monotonic() - started
        what = "has ended" if seconds < HANGS else f"has not answered for {seconds:.0f} s"
        raise Lost(f"another process of the run {what}") from error


@contextlib.contextmanager
def joined(environment: Mapping[str, str]) -> Iterator[World]:
    """Meet the other processes that torchrun has started, and part when all is done; alone, do nothing.

    Of errors within, one process raises its own, and the others Elsewhere. Raises UsageError for an environment that is
    not torchrun's, RunFailed where the processes do not meet.
    """
    if environment.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    missing = [name for name in NAMES if not environment.get(name)]
    words = [name for name in NAMES if name != "MASTER_ADDR" and not environment.get(name, "0").isdecimal()]
    if missing or words:
        what = f"{missing[0]} is not set" if missing else f"{words[0]} is no whole number"
        raise UsageError(f"WORLD_SIZE is set, and {what}: start with torchrun, or with --processes")
    place = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
    try:
        store = next(iter(rendezvous("env://", timeout=timedelta(seconds=PATIENCE))))[0]
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        size, rank = int(environment["WORLD_SIZE"]), int(environment["RANK"])
        # A process may train several runs, one after the other: each has names of its own in the store.
        store = PrefixStore(f"srkit/{(store.add('joined', 1) - 1) // size}", store)
        timeout = timedelta(seconds=PATIENCE)
        dist.init_process_group(backend, store=store, world_size=size, rank=rank, timeout=timeout)
        world = Several(store, environment)
    except (RuntimeError, ValueError) as error:
        raise RunFailed(f"the processes of the run cannot meet at {place}: {error}") from error
    ended = threading.Event()
    limits = Limits(HANGS, WORKS)
    watch = threading.Thread(target=keep_watch, args=(store.clone(), world, limits, ended), daemon=True)  # type: ignore[attr-defined]
    watch.start()
    try:
        yield world
    except Elsewhere:
        raise
    except BaseException as error:
        code = 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)
        if not world.claim(code):
            raise Elsewhere(world.code()) from error
        raise
    else:
        world.wait()
        ended.set()
        watch.join()
        dist.destroy_process_group()
