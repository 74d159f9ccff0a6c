"""Events of a run, passed on to its observers."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import srkit
from srkit.plugin.contracts import Observer, Run
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


def test_every_key_that_observers_are_given_is_documented(tiny):
    """With an adversarial loss, two of one name and an image that is exact."""
    flat = np.full((40, 40, 3), 128, np.uint8)
    Image.fromarray(flat).save("photos/flat.png")
    losses = (
        'loss=["l1", {type="l1", weight=0.1}, {type="adversarial", discriminator={type="patch", features=4, layers=1}}]'
    )
    srkit.run("tiny.toml", out="run", set=["train.steps=3", losses])
    records = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    text = inspect.getdoc(Observer) + inspect.getdoc(Run)
    documented = {*re.findall(r"`([\w.]+)`", text), "event", "step", "title", "facts", "steps"}
    tables = [table for record in records for table in record.get("tables", ())]
    rows = [row for table in tables for row in table["rows"]]
    assert any("exact" in row for row in rows)
    given = [key for record in records if record["event"] in ("logged", "run_started") for key in record]
    given += [key for record in records for key in record.get("facts", ())]
    given += [key for found in (*tables, *rows, *(table["protocol"] for table in tables)) for key in found]
    assert {"l1_2", "adversarial.adversary"} <= set(given)
    assert set(given) - documented - {"l1", "adversarial"} == set()
