"""A new kind: a row with its protocol, and its checks; nothing else of srkit names it."""

from __future__ import annotations

import json
from typing import ClassVar, Protocol

import attrs
import pytest

from srkit.cli import main
from srkit.engine.builder import Builder
from srkit.errors import ComponentError
from srkit.plugin import contracts
from srkit.plugin.component import Component
from srkit.plugin.contracts import KINDS, Fact
from srkit.plugin.kind import methods
from srkit.plugin.part import Part
from srkit.plugin.registry import Origin, Registry
from srkit.plugin.settings import declared
from srkit.testing import contract
from srkit.testing.check import Check, Subject, fail
from srkit.testing.running import results


class Palette(Protocol):
    """Made from `**settings` and `scale`. Names colours."""

    def color(self, index: int) -> str:
        """Return the name of a colour."""


def names_a_color(subject: Subject) -> None:
    """Its first colour has a name."""
    if not subject.make().color(0):
        fail("its first colour has no name", "return a text")


@attrs.frozen
class PalettePart(Part):
    kind: ClassVar[str] = "palette"


@pytest.fixture
def palettes(monkeypatch):
    """All that a kind takes: a row, its protocol and its checks."""
    row = contracts._kind("palette", "names of colours", Palette, given=("scale",), count=Fact(int, "how many", 1))
    monkeypatch.setitem(KINDS, "palette", row)
    monkeypatch.setitem(contract._OWN, "palette", (Check(names_a_color),))
    registry = Registry()
    for name, target in (("plain", "Plain"), ("mute", "Mute"), ("empty", "dict")):
        module = "builtins" if target == "dict" else __name__
        registry.add(Component("palette", name, f"{module}:{target}", summary="a palette"), Origin("mine", "1.0"))
    return registry


class Plain:
    """Names numbers.

    Args:
        prefix: what each name begins with
    """

    def __init__(self, *, scale: int, prefix: str = "c") -> None:
        self.scale, self.prefix = scale, prefix

    def color(self, index: int) -> str:
        return f"{self.prefix}{index * self.scale}"


class Mute(Plain):
    def color(self, index: int) -> str:
        return ""


def test_its_components_are_made_with_what_the_kind_is_given_and_looked_at(palettes):
    builder = Builder(palettes)
    made = builder.make(PalettePart("plain", {"prefix": "d"}), scale=3, steps=7)
    assert made.color(2) == "d6"
    with pytest.raises(ComponentError) as error:
        builder.make(PalettePart("empty"))
    assert str(error.value) == "palette 'empty' makes a dict, which has no color"


def test_its_facts_are_checked(palettes):
    component = Component("palette", "two", f"{__name__}:Plain", facts={"cuont": 2})
    with pytest.raises(ComponentError, match="unknown fact 'cuont'; did you mean 'count'"):
        palettes.add(component, Origin("mine", "1.0"))


def test_its_checks_are_run(palettes):
    found = {
        name: [
            result.check.name
            for result in results(Subject(palettes.find("palette", name), palettes))
            if result.outcome == "failed" and result.check not in contract.SHARED
        ]
        for name in ("plain", "mute")
    }
    assert found == {"plain": [], "mute": ["names_a_color"]}


def test_commands_know_it(palettes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "palette.py").write_text(
        "import srkit\n"
        "class Bright:\n"
        "    def color(self, index):\n        return 'red'\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('palette', 'bright', f'{__name__}:Bright', summary='loud')\n"
    )
    assert main(["-p", "palette.py", "list", "palette", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["components"]
    assert (row["kind"], row["name"]) == ("palette", "bright")
    assert main(["-p", "palette.py", "show", "bright"]) == 0
    assert "loud" in capsys.readouterr().out


def test_a_callable_is_given_what_it_declares():
    words = {"scale": 2, "steps": 3}
    assert declared(lambda scale: 0, words) == {"scale": 2}
    assert declared(lambda *, steps=1: 0, words) == {"steps": 3}
    assert declared(lambda scale, /: 0, words) == {}
    assert declared(lambda **settings: 0, words) == words
    assert declared(Plain, words) == {"scale": 2}


def test_the_methods_of_a_protocol_are_those_that_it_demands():
    assert methods(Palette) == ("color",)
    assert methods(contracts.Dataset) == ("__len__", "name", "size", "read", "lr", "fingerprint")
    assert methods(contracts.Loss) == ("__call__",)


def test_a_fact_of_two_numbers_holds_for_two_and_whole_ones_are_numbers():
    fact = Fact(tuple[float, float], "from and to")
    assert [fact.holds(value) for value in ((1.0, 4.5), [1, 4])] == [True, True]
    assert not any(fact.holds(value) for value in ((1.0,), (1.0, 2.0, 3.0), ("1", "4"), (True, 4.0), 4.0))
