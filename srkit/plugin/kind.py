"""What is stated of a kind of component: what its targets are given, what they return, which facts there are."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any, Literal

import attrs


@attrs.frozen
class Fact:
    """What a component may state of itself under a name: the type of its value, what it means, and what holds where it
    is not stated (None: nothing is known)."""

    type: Any
    meaning: str
    default: Any = None

    def holds(self, value: Any) -> bool:
        """Say whether a value is of the fact's type."""
        return _is(self.type, value)


def _is(hint: Any, value: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return any(type(choice) is type(value) and choice == value for choice in arguments)
    if origin is tuple and Ellipsis not in arguments:
        same_length = isinstance(value, list | tuple) and len(value) == len(arguments)
        return same_length and all(map(_is, arguments, value))
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_is(arguments[0], member) for member in value)
    if origin is dict:
        return isinstance(value, Mapping) and all(
            _is(arguments[0], key) and _is(arguments[1], member) for key, member in value.items()
        )
    return type(value) is hint or (hint is float and type(value) is int)


@attrs.frozen(kw_only=True)
class Kind:
    """A row of `srkit.plugin.contracts`.

    `given` names what a target is called with beside its settings, as far as it declares it; of these, `first` is
    passed as the first argument, under any name. `protocols` are the target's, and the values that it is given
    or gives. What a target returns is of the class `makes` ("torch.nn:Module"), or else has what its protocol has: all
    its methods, or any of them where they are `events`.

    `keys` are those keys of a component's table in a recipe that are srkit's, so that no setting can have such a name.
    """

    name: str
    summary: str
    plural: str
    protocols: tuple[type, ...]
    given: tuple[str, ...] = ()
    first: str = ""
    makes: str = ""
    events: bool = False
    keys: tuple[str, ...] = ("type",)
    facts: Mapping[str, Fact] = attrs.field(factory=dict)


def methods(protocol: type) -> tuple[str, ...]:
    """Return the names of the methods that a protocol demands, `__call__` and `__len__` among them."""
    special = ("__call__", "__len__")
    return tuple(
        name
        for name, member in vars(protocol).items()
        if inspect.isfunction(member) and (name in special or not name.startswith("_"))
    )
