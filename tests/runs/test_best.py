"""Which scores are the better ones, where some are not finite."""

from __future__ import annotations

import json
import math

import pytest

from srkit.runs import best
from srkit.runs.history import read_history

INF, NAN = math.inf, math.nan


def worth(*images, higher=(True, True)):
    return best.merit({str(i): dict(zip("ab", image, strict=False)) for i, image in enumerate(images)}, higher)


def test_the_mean_of_the_finite_images_decides():
    assert best.is_better(worth((INF, 1.0), (34.0, 0.8)), worth((INF, 1.0), (33.0, 0.9)))
    assert best.is_better(worth((100.0, 1.0), (34.0, 0.8)), worth((INF, 1.0), (33.0, 0.9)))


def test_where_every_image_is_exact_the_next_metric_decides():
    assert best.is_better(worth((INF, 0.9)), worth((INF, 0.8)))
    assert not best.is_better(worth((INF, 0.8)), worth((INF, 0.9)))


def test_of_equals_the_first_stay():
    assert not best.is_better(worth((30.0, 0.9)), worth((30.0, 0.9)))


def test_a_metric_whose_lower_values_are_better_counts_so():
    assert best.is_better(worth((0.1, 0.9), higher=(False,)), worth((0.2, 0.9), higher=(False,)))


def test_scores_with_nan_are_never_the_best():
    assert worth((NAN, NAN), (50.0, 1.0)) is None


def history(tmp_path, *rows):
    (tmp_path / "recipe.toml").write_text('scale = 2\narchitecture = { type = "a2n" }\ntrain = { steps = 9 }\n')
    lines = []
    for step, row in enumerate(rows, 1):
        table = {"data": "d", "scale": 2, "protocol": {}, "rows": [{"model": "a2n", **row}]}
        lines.append(json.dumps({"event": "validated", "step": step, "tables": [table]}))
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    return read_history(tmp_path)


def row(mean, images, **more):
    return {"mean": {"a": mean}, "images": {str(i): {"a": value} for i, value in enumerate(images)}, **more}


@pytest.mark.parametrize(
    ("rows", "step"),
    [
        ([row(33.0, [None, 33.0], exact={"a": ["0"]}), row(69.0, [104.0, 34.0])], 2),
        ([row(33.0, [None, 33.0], exact={"a": ["0"]}), row(32.0, [None, 32.0], exact={"a": ["0"]})], 1),
        ([row(30.0, [30.0, 30.0]), row(None, [None, 99.0], exact={"a": []})], 1),  # 0 was spoilt
        ([row(None, [None, None]), row(20.0, [20.0, 20.0])], 2),
        ([row(None, [None, None])], None),
    ],
)
def test_a_history_knows_the_best_step_from_what_json_can_hold(tmp_path, rows, step):
    assert history(tmp_path, *rows).best_step(higher_is_better=True) == step


def test_in_a_history_without_the_names_of_exact_images_one_with_another_score_was_exact(tmp_path):
    exact = {"mean": {"a": None, "b": 1.0}, "images": {"0": {"a": None, "b": 1.0}, "1": {"a": 34.0, "b": 0.9}}}
    found = {"mean": {"a": 33.0, "b": 0.9}, "images": {"0": {"a": 33.0, "b": 0.9}}}
    assert history(tmp_path, found, exact).best_step(higher_is_better=[True, True]) == 2
