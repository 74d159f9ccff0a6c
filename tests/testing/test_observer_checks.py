"""Each check of an observer can fail: one that breaks one promise, and what is told of it. srkit's own pass."""

from __future__ import annotations

import re

import pytest

from srkit.plugin.discovery import discover, installed
from srkit.testing.check import Subject
from srkit.testing.observer import CHECKS, EVENTS
from srkit.testing.running import perform, results
from tests.conftest import plugin

MODULE = """
class Good:
    def __init__(self):
        self.lines = []

    def logged(self, step, values):
        print(f"step {step}", values["loss"])

    def run_ended(self, step, outcome):
        self.close()

    def close(self):
        pass


class Helped(Good):
    def save(self):
        pass

    def _saves(self, step, path):
        pass


class Misspelt(Good):
    def run_start(self, run):
        pass


class Other(Good):
    def logged(self, values):
        pass


class Trusting(Good):
    def validated(self, step, tables):
        self.run.title


class Hasty(Good):
    def run_ended(self, step, outcome):
        self.lines[-1]

    def logged(self, step, values):
        self.lines.append(values["loss"])


class Takes(Good):
    def logged(self, step, values):
        values.pop("loss")


class Sorts(Good):
    def validated(self, step, tables):
        for table in tables:
            table["rows"].reverse()
"""
NAMES = re.findall(r"^class (\w+)", MODULE, re.MULTILINE)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """What is installed, and a file with an observer for each broken promise, each by the name of its class."""
    path = tmp_path_factory.mktemp("plugin") / "observer_checks_mine.py"
    components = "\n".join(f'"observer", "{name}", f"{{__name__}}:{name}", summary="watches"' for name in NAMES)
    path.write_text(MODULE + plugin(components))
    return discover([str(path)])


def failures(registry, name):
    found = results(Subject(registry.find("observer", name), registry))
    return {
        result.check.name: (re.sub(r"\(\S+/(\S+:\d+)\)", r"(\1)", result.found), result.instead)
        for result in found
        if result.outcome == "failed"
    }


@pytest.mark.parametrize("name", ["Good", "Helped"])
def test_an_observer_that_keeps_all_promises_passes(registry, name):
    assert failures(registry, name) == {}


def test_what_an_observer_prints_is_not_shown(registry, capfd):
    assert failures(registry, "Good") == {}
    assert capfd.readouterr() == ("", "")


BROKEN = {
    "Misspelt": (
        "no_event_is_misspelt",
        "it has a method 'run_start', which is never called",
        "call it 'run_started', or '_run_start' where it is no event",
    ),
    "Other": (
        "events_take_what_is_told",
        "logged(values) cannot be called as logged(step, values)",
        "take (step, values)",
    ),
    "Trusting": (
        "a_run_is_watched",
        "validated raises AttributeError: 'Trusting' object has no attribute 'run' (observer_checks_mine.py:36)",
        "mend it there: an observer that raises is dropped",
    ),
    "Hasty": (
        "a_run_is_watched",
        "run_ended raises IndexError: list index out of range (observer_checks_mine.py:41)",
        "mend it there: an observer that raises is dropped",
    ),
    "Takes": ("what_is_told_is_left_alone", "logged changes what it is told", "work on a copy: dict(values)"),
    "Sorts": ("what_is_told_is_left_alone", "validated changes what it is told", "work on a copy: dict(values)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_observer_that_breaks_one_promise_is_told_which(registry, name):
    check, found, instead = BROKEN[name]
    assert failures(registry, name) == {check: (found, instead)}


def test_every_check_was_seen_to_fail():
    assert {check.name for check in CHECKS} == {check for check, _, _ in BROKEN.values()}


def test_the_events_are_those_of_the_contract():
    assert EVENTS == ("run_started", "logged", "validated", "pictured", "saved", "run_ended")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("name", ["console", "metrics_jsonl", "log", "samples"])
def test_observers_of_srkit_keep_all_promises(name, check):
    perform(check, Subject(installed().find("observer", name), installed()))
