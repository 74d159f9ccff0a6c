"""What a component of each kind must do: the checks, in the order in which one would look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from srkit.errors import did_you_mean
from srkit.testing import (
    adversary,
    anything,
    architecture,
    augmentation,
    dataset,
    degradation,
    detector,
    discriminator,
    distortion,
    exporter,
    learning,
    loss,
    metric,
    observer,
    streaming,
    writer,
)
from srkit.testing.check import Check, Subject, fail

_OWN: Mapping[str, tuple[Check, ...]] = {
    "architecture": (*architecture.CHECKS, *streaming.CHECKS),
    "loss": (*loss.CHECKS, *adversary.CHECKS),
    "discriminator": discriminator.CHECKS,
    "degradation": degradation.CHECKS,
    "distortion": distortion.CHECKS,
    "augmentation": augmentation.CHECKS,
    "metric": metric.CHECKS,
    "dataset": dataset.CHECKS,
    "writer": writer.CHECKS,
    "optimizer": learning.OPTIMIZER_CHECKS,
    "schedule": learning.SCHEDULE_CHECKS,
    "observer": observer.CHECKS,
    "detector": detector.CHECKS,
    "exporter": exporter.CHECKS,
}


def deviations_are_checks(subject: Subject) -> None:
    """The deviations that it states are names of checks, and none is of a check without which training refuses it."""
    checks = contract(subject.component.kind)
    names, demanded = ([check.name for check in some] for some in (checks, [one for one in checks if one.demanded]))
    for name in subject.facts.get("deviations", {}):
        if name in demanded:
            fail(
                f"it states the deviation '{name}', and training refuses what does not pass it",
                f"mend that; these cannot be deviated from: {', '.join(demanded)}",
            )
        if name not in names:
            near = did_you_mean(name, names)
            fail(f"it states the deviation '{name}', and there is no such check{near}", "name a check of this table")


# What every component does, of whichever kind.
SHARED = (*anything.CHECKS, Check(deviations_are_checks))


def contract(kind: str) -> tuple[Check, ...]:
    """Return the checks of a kind's components, in the order in which one would look."""
    return (*SHARED, *_OWN.get(kind, ()))


def hindrance(check: Check, failed: Iterable[Check]) -> Check | None:
    """Return which of the checks that failed, with a stated reason or without, makes it useless to run another."""
    return next((one for one in failed if (one.first and check not in SHARED) or one.run in check.needs), None)
