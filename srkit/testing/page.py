"""The contracts as a page: python -m srkit.testing.page > docs/contracts.md"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping

from srkit.plugin import component, contracts
from srkit.plugin.contracts import KINDS
from srkit.plugin.kind import Fact, Kind
from srkit.plugin.settings import type_name
from srkit.testing.check import Check
from srkit.testing.contract import SHARED, contract

INTRODUCTION = """\
# Contracts

What a component of each kind is called with, what it gives, which facts it may state, and the checks that it passes.
This page is made of `srkit/plugin/contracts.py` and of the checks themselves (`python -m srkit.testing.page`);
[Plugins](plugins.md) is the way to a plugin of your own.

The checks are run by `srkit check-plugin NAME`, and in pytest by `srkit.testing.parametrize_components`, where they are
called `KIND-NAME-CHECK`. What a component is meant to do otherwise it states, with the reason, in the fact
`deviations`.
"""

FACTS = "| fact | type | where absent | |\n|---|---|---|---|"
CHECKS = "| check | |\n|---|---|"


def page() -> str:
    """Return the page as Markdown."""
    general, *_ = (inspect.getdoc(contracts) or "").partition("\n\n")[2:]
    signature = _plain(str(inspect.signature(component.srkit_components)))
    parts = [
        INTRODUCTION,
        general,
        "## The hook",
        f"`srkit_components{signature}`",
        inspect.getdoc(component.srkit_components) or "",
        "## Chance",
        inspect.getdoc(contracts.Draws) or "",
        "\n".join(_methods(contracts.Draws)),
        "## Every component",
        "A component of any kind may state its deviations, and passes these checks:",
        "\n".join([FACTS, *(_fact((name, fact)) for name, fact in _shared_facts().items())]),
        "\n".join([CHECKS, *map(_check, SHARED)]),
        *(line for kind in KINDS.values() for line in _kind(kind)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _kind(kind: Kind) -> Iterator[str]:
    yield f"## `{kind.name}`"
    yield f"{kind.summary[0].upper()}{kind.summary[1:]}."
    for protocol in kind.protocols:
        yield f"**{protocol.__name__}.** {inspect.getdoc(protocol)}"
        methods = list(_methods(protocol))
        if methods:
            yield "\n".join(methods)
    facts = [_fact((name, fact)) for name, fact in kind.facts.items() if name not in _shared_facts()]
    if facts:
        yield "\n".join([FACTS, *facts])
    yield "\n".join([CHECKS, *(_check(check) for check in contract(kind.name) if check not in SHARED)])


def _shared_facts() -> Mapping[str, Fact]:
    """Return the facts that a component of any kind may state."""
    first, *others = (kind.facts for kind in KINDS.values())
    return {name: fact for name, fact in first.items() if all(name in facts for facts in others)}


def _check(check: Check) -> str:
    return f"| `{check.name}` | {_cell(check.promise)}{' (slow: `--slow`)' if check.slow else ''} |"


def _methods(protocol: type) -> Iterator[str]:
    """Yield a line on each method that a protocol has, or on each field of a tuple."""
    fields = getattr(protocol, "_fields", ())
    if fields:
        types = protocol.__annotations__
        yield ", ".join(f"`{name}: {getattr(types[name], '__forward_arg__', types[name])}`" for name in fields)
        return
    for name, method in vars(protocol).items():
        if not inspect.isfunction(method) or (name.startswith("_") and name not in ("__call__", "__len__")):
            continue
        if name == "__init__" or method.__module__ != protocol.__module__:
            continue
        signature = inspect.signature(method)
        own = signature.replace(parameters=list(signature.parameters.values())[1:])
        doc = " ".join((method.__doc__ or "").split())
        yield f"- `{name}{_plain(str(own))}`{f': {doc}' if doc else ''}"


def _plain(signature: str) -> str:
    """Return a signature without the quotes of its annotations."""
    return signature.replace("'", "")


def _fact(named: tuple[str, Fact]) -> str:
    name, fact = named
    absent = "" if fact.default is None else f"`{json.dumps(fact.default)}`"
    return f"| `{name}` | {_cell(type_name(fact.type))} | {absent} | {_cell(fact.meaning)} |"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    print(page(), end="")
