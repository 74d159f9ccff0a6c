"""What a component of each kind must do: the checks, in the order in which one would look."""

from __future__ import annotations

from collections.abc import Mapping

from srkit.contracts import KINDS
from srkit.errors import did_you_mean
from srkit.testing import anything, architecture
from srkit.testing.check import Check, Subject, fail

_OWN: Mapping[str, tuple[Check, ...]] = {
    "architecture": architecture.CHECKS,
}


def deviations_are_checks(subject: Subject) -> None:
    """The deviations that it states are names of checks."""
    names = [check.name for check in CONTRACT[subject.component.kind]]
    for name in subject.facts.get("deviations", {}):
        if name not in names:
            near = did_you_mean(name, names)
            fail(f"it states the deviation '{name}', and there is no such check{near}", "name a check of this table")


# Where one of these fails, no other can be run.
FIRST = (anything.MADE, architecture.CALLED)
CONTRACT: Mapping[str, tuple[Check, ...]] = {
    kind: (*anything.CHECKS, Check(deviations_are_checks), *_OWN.get(kind, ())) for kind in KINDS
}
