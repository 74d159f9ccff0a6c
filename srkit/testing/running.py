"""Checks run one after the other, each to a result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs
import torch

from srkit.errors import located
from srkit.testing.check import Check, CheckFailed, Inapplicable, Subject, refuse_missing_package
from srkit.testing.contract import contract, hindrance

Outcome = Literal["passed", "failed", "declared", "skipped"]


@attrs.frozen
class Result:
    """How a check of a component ended: what was found, and what to do."""

    check: Check
    outcome: Outcome
    found: str = ""
    instead: str = ""


def perform(check: Check, subject: Subject) -> None:
    """Run a check with chance of its own, which is given back. Raises what the check raises."""
    __tracebackhide__ = True  # for pytest, which shows the check's own lines then
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        try:
            check.run(subject)
        except ModuleNotFoundError as error:
            refuse_missing_package(error)
            raise


def results(subject: Subject, *, slow: bool = False) -> Iterator[Result]:
    """Run a component's checks and yield how each ended; one that needs another, which failed, is skipped."""
    failed: list[Check] = []
    for check in contract(subject.component.kind):
        if check.slow and not slow:
            continue
        cause = hindrance(check, failed)
        if cause is not None:
            yield Result(check, "skipped", f"not run: {cause.name} failed")
            continue
        result = _result(check, subject)
        yield result
        if result.outcome in ("failed", "declared"):
            failed.append(check)


def _result(check: Check, subject: Subject) -> Result:
    reason = None if check.demanded else subject.facts.get("deviations", {}).get(check.name)
    try:
        perform(check, subject)
    except Inapplicable as error:
        return Result(check, "skipped", str(error))
    except CheckFailed as error:
        found, instead = error.what, error.instead
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a component may do anything when it is called, SystemExit included
        found, instead = f"it raises {located(error)}", "mend it there"
        if not check.demanded:
            instead += ", or state the deviation with its reason"
    else:
        if reason is None:
            return Result(check, "passed")
        found = f'the deviation "{reason}" is stated, and the check passes'
        return Result(check, "failed", found, f"take '{check.name}' out of the fact 'deviations'")
    if reason is None:
        return Result(check, "failed", found, instead)
    return Result(check, "declared", f"{reason} ({found})")
