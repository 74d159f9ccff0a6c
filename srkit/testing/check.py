"""A check of the contract, the component that it looks at, and how it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NoReturn

import attrs
import torch

from srkit.errors import reason_of
from srkit.plugin.component import Component
from srkit.plugin.contracts import KINDS
from srkit.plugin.registry import Entry, Registry

SCALES = (2, 3, 4)  # what is tried where a component states none


class CheckFailed(AssertionError):
    """A component does not keep a promise: `what` it does, and what to do `instead`."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(f"{what}; {instead}")
        self.what = what
        self.instead = instead


class Inapplicable(Exception):
    """A check has nothing to look at, for a reason."""


@attrs.frozen
class Subject:
    """A component under check, and the settings that it is made with."""

    entry: Entry
    registry: Registry
    settings: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def component(self) -> Component:
        """The component itself."""
        return self.entry.component

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What it states of itself, which for a network may depend on its settings."""
        component = self.entry.component
        if component.kind == "architecture":
            with contextlib.suppress(Exception), torch.random.fork_rng(devices=[]):  # a check says why it is not made
                return component.facts_of(self.make())
        return component.facts

    @property
    def scale(self) -> int:
        """A scale that the component is made for."""
        return int((*self.component.facts.get("scales", ()), 2)[0])

    def make(self, *first: Any, **words: Any) -> Any:
        """Call the target with what its kind is given (its first scale, where no other is said) and the settings."""
        kind = KINDS[self.component.kind]
        words = {"scale": self.scale, **dict.fromkeys([kind.first] if first else [], *first), **words}
        return self.registry.make(kind.name, self.entry.full_name, words, self.settings)

    def made_at_each_scale(self) -> Iterator[tuple[int, Any]]:
        """Yield each scale that the component states, or else 2, 3 and 4, and what it makes for it."""
        stated = "scales" in self.facts
        for scale in self.facts.get("scales", SCALES):
            try:
                made = self.make(scale=scale)
            except Exception as error:  # a scale that it is not made for: a ValueError, an assertion, a missing key
                if stated:
                    raise
                fail(f"it has no scale {scale}: {reason_of(error)}", 'state its scales: facts={"scales": (2, 4)}')
            yield scale, made


@attrs.frozen
class Check:
    """A promise of a kind's contract. `run` raises CheckFailed, or what the component raises, where it is broken.

    The function's name is the check's, its docstring the promise. A `slow` one takes many seconds. Where a check that
    it `needs` fails, what it would find is that check's cause once more; where a `first` one fails, no other of the
    kind can be run. What fails a `demanded` one, training refuses, so that no reason makes a deviation of it.
    """

    run: Callable[[Subject], None]
    slow: bool = False
    first: bool = False
    needs: tuple[Callable[[Subject], None], ...] = ()
    demanded: bool = False

    @property
    def name(self) -> str:
        """What tables and pytest call it."""
        return self.run.__name__

    @property
    def promise(self) -> str:
        """What a component promises, as a sentence."""
        return " ".join((self.run.__doc__ or "").split())


def refuse_missing_package(error: BaseException) -> None:
    """Fail where an error is that of a package that is not installed."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        fail(f"it needs the package '{package}', which is not installed", _INSTALL.format(package))


_INSTALL = "install what gives '{}', and name it in the dependencies of the plugin"


def fail(what: str, instead: str) -> NoReturn:
    """Raise CheckFailed."""
    __tracebackhide__ = True  # for pytest, which shows the check's own lines then
    raise CheckFailed(what, instead)
