"""The contract as pytest's cases, a check of a component each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from srkit.errors import ComponentError, UsageError, did_you_mean
from srkit.plugin.discovery import discover, installed
from srkit.plugin.registry import Entry, Registry
from srkit.testing.check import Check, Inapplicable, Subject
from srkit.testing.contract import contract, hindrance
from srkit.testing.running import perform

if TYPE_CHECKING:
    import pytest


@attrs.frozen
class Case:
    """A check of a component. Called with the component's settings, it runs the check."""

    check: Check
    entry: Entry
    registry: Registry

    @property
    def id(self) -> str:
        """Its name in pytest's output: "architecture-tiny-output_is_scaled"."""
        component = self.entry.component
        return f"{component.kind}-{component.name}-{self.check.name}"

    def __call__(self, **settings: Any) -> None:
        """Run the check with the component's default settings, or with these. Raises CheckFailed, or what the component
        raises; a check that has nothing to look at is skipped."""
        import pytest

        __tracebackhide__ = True
        try:
            perform(self.check, Subject(self.entry, self.registry, settings))
        except Inapplicable as error:
            pytest.skip(str(error))


def parametrize_components(
    *names: str,
    expected_failures: Mapping[str, str] | None = None,
    plugins: Sequence[str] = (),
    slow: bool = False,
) -> pytest.MarkDecorator:
    """Return a decorator that gives a test its argument `check`, once for each check of each component's contract.

    ```
    @parametrize_components("tiny")
    def test_contract(check):
        check()  # check(blocks=1): with other settings than the defaults
    ```

    `expected_failures` has the reason by a check's name, or by a case's id: these must fail, and so must the deviations
    that a component states in its facts. `plugins` are files of plugins, as `srkit -p` takes them. With `slow`, the
    slow checks alone. Raises ComponentError for a name that is not installed, UsageError for an expected failure that
    is no check.
    """
    import pytest

    registry = discover(plugins) if plugins else installed()
    cases = [
        Case(check, entry, registry)
        for name in names
        for entry in _entries(registry, name)
        for check in contract(entry.component.kind)
        if check.slow == slow
    ]
    expected = dict(expected_failures or {})
    known = {known for case in cases for known in (case.id, case.check.name)}
    for name in expected:
        if name not in known and not slow:
            raise UsageError(f"expected_failures: there is no check '{name}'{did_you_mean(name, known)}")
    parameters = []
    for case in cases:
        deviations = case.entry.component.facts.get("deviations", {})
        stated = None if case.check.demanded else deviations.get(case.check.name)
        reason = expected.get(case.id, expected.get(case.check.name, stated))
        marks = [] if reason is None else [pytest.mark.xfail(reason=reason, strict=True)]
        checks = contract(case.entry.component.kind)
        cause = hindrance(case.check, [one for one in checks if one.name in deviations and one is not case.check])
        if cause is not None:
            marks = [pytest.mark.skip(reason=f"not run: {cause.name} is a stated deviation")]
        parameters.append(pytest.param(case, id=case.id, marks=marks))
    return pytest.mark.parametrize("check", parameters)


def _entries(registry: Registry, name: str) -> list[Entry]:
    entries = registry.by_name(name)
    if not entries:
        names = {entry.component.name for entry in registry}
        broken = "".join(f"\n{failure}" for failure in registry.failures)
        raise ComponentError(f"there is no component '{name}'{did_you_mean(name, names)}{broken}")
    return entries
