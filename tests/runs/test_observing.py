"""Events of a run, passed on to its observers."""

from __future__ import annotations

import pytest

from srkit.runs.observing import Observers
from tests.conftest import ROOT


class Counting:
    def __init__(self):
        self.seen = []

    def logged(self, step, values):
        self.seen.append((step, values))


class Raising(Counting):
    def logged(self, step, values):
        super().logged(step, values)
        raise OSError("no network")


def test_one_that_raises_is_dropped_with_one_warning_and_the_others_go_on(caplog, monkeypatch):
    monkeypatch.chdir(ROOT)
    raising, counting = Raising(), Counting()
    observers = Observers({"raising": raising, "counting": counting})
    for step in (1, 2):
        observers.logged(step, {"loss": 0.5})
        observers.saved(step, "path")  # which none of them takes
    assert (len(raising.seen), len(counting.seen)) == (1, 2)
    place = f"tests/runs/test_observing.py:{Raising.logged.__code__.co_firstlineno + 2}"
    assert caplog.messages == [f"observer 'raising' raised OSError: no network ({place}); it is dropped"]


def test_an_event_that_there_is_not_is_an_error():
    with pytest.raises(AttributeError) as error:
        Observers({}).loged(1, {})
    assert str(error.value) == (
        "observers have no event 'loged'; there are: run_started, logged, validated, pictured, saved, run_ended"
    )
