"""Which runs a sweep has, what their folders are called, and what cannot be meant."""

from __future__ import annotations

import pytest

from srkit.errors import UsageError
from srkit.sweeps.grid import Point, parse_lists, parse_space, points, seeds_of


def test_all_combinations_run_for_each_seed_from_the_recipes_on():
    space = parse_space({"optimizer.lr": [1e-4, 5e-4], "data.augment": [[], ["hflip"]]}, {}, trials=0, seeds=2)
    found = points(space.axes, seeds_of(space, 7))
    assert [point.overrides for point in found[:3]] == [
        ["optimizer.lr=0.0001", "data.augment=[]", "seed=7"],
        ["optimizer.lr=0.0001", "data.augment=[]", "seed=8"],
        ["optimizer.lr=0.0001", 'data.augment=["hflip"]', "seed=7"],
    ]
    assert len(found) == 8
    assert len({point.name for point in found}) == 8


def test_a_folder_is_named_by_its_settings_and_told_apart_where_a_name_cannot_hold_them():
    assert Point({"optimizer.lr": "0.0001", "optimizer.type": '"adam"'}, 0).name == (
        "optimizer.lr=0.0001,optimizer.type=adam,seed=0"
    )
    names = [Point({"data.dataset.path": f'"{path}"'}).name for path in ("a/b", "a b", "a_b")]
    assert names == ["data.dataset.path=a_b-779452", "data.dataset.path=a_b-dc0948", "data.dataset.path=a_b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer.lr=3", "write KEY=[VALUE, VALUE], as in --grid 'x=[1, 2]'"),
        ("optimizer.lr", "write KEY=[VALUE, VALUE], as in --grid 'x=[1, 2]'"),
        ("a=[1]", "a is there twice; write its values as one list"),
    ],
)
def test_what_is_no_list_of_values_is_refused(text, message):
    with pytest.raises(UsageError) as error:
        parse_lists(["a=[1]", text], "--grid", "x=[1, 2]")
    assert str(error.value) == f"--grid {text}: {message}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a sweep needs what differs: --grid 'optimizer.lr=[1e-4, 5e-4]', or --seeds 3"),
        ({"grid": {"a": []}}, "--grid a: its list of values is empty"),
        ({"grid": {"a": "bc"}}, "--grid a: needs a list of values, not 'bc'"),
        ({"grid": {"a": [1e-4, 0.0001]}}, "--grid a: 0.0001 is there twice"),
        ({"grid": {"seed": [1]}, "seeds": 2}, "--seeds and --grid seed contradict each other: give one of them"),
        ({"seeds": 0}, "--seeds is at least 1, not 0"),
        (
            {"ranges": {"a": [1, 2]}},
            "--range is for --optuna N, which chooses N combinations; --grid has lists of values",
        ),
        (
            {"seeds": 1, "trials": 3},
            "--optuna N chooses N combinations, at least 1, of the values of --grid and --range",
        ),
        (
            {"ranges": {"a": [2, 1]}, "trials": 3},
            '--range a: write two numbers, the lower one first, as in a=[1e-5, 1e-3, "log"]',
        ),
        (
            {"ranges": {"a": [0, 1, "log"]}, "trials": 3},
            "--range a: a logarithm needs numbers above 0, and the lower one is 0",
        ),
        (
            {"grid": {"a": [1]}, "ranges": {"a": [1, 2]}, "trials": 3},
            "a has a list of values and a range: give one of them",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(given, message):
    with pytest.raises(UsageError) as error:
        parse_space(**{"grid": {}, "ranges": {}, "trials": 0, "seeds": None, **given})
    assert str(error.value) == message
