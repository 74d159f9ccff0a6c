"""Weights are taken by name, and what was not is said."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import srkit
from srkit.cli import main
from srkit.engine.weights.model import read_weights, save_model
from srkit.engine.weights.transfer import MOST, Transfer, load_weights, plan
from srkit.errors import InputRejected

DATA = os.environ.get("SRKIT_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")

NEW_AT_X4 = ["upconv2.*", "att2.*", "HRconv2.*"]

OWN = {"head.weight": (4, 3), "head.bias": (4,), "body.0.weight": (4, 4), "body.1.weight": (4, 4), "gain": ()}


def network(shapes, value=-1.0):
    """A network with parameters of these names and shapes, all of one value."""
    root = nn.Module()
    for name, shape in shapes.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(last, nn.Parameter(torch.full(shape, value)))
    return root


def shapes_of(scale, **settings):
    tensors = srkit.create("architecture", "a2n", scale=scale, **settings).state_dict()
    return {name: tensor.shape for name, tensor in tensors.items()}


def rejected(own, found, **options):
    with pytest.raises(InputRejected) as error:
        plan(own, found, "w.pt", "'net' at scale 2", **options)
    assert error.value.path == "w.pt"
    return str(error.value).splitlines()


def without(shapes, *names):
    return {name: shape for name, shape in shapes.items() if name not in names}


# What is taken


def test_x4_takes_all_of_x2_and_its_second_stage_is_fresh():
    transfer = plan(shapes_of(4), shapes_of(2), "x2.safetensors", "'a2n' at scale 4", fresh=NEW_AT_X4)
    assert transfer.line("runs/a2n_x2/best.safetensors") == (
        "taken 172 tensors (1,036,443 values) of runs/a2n_x2/best.safetensors, "
        "fresh 6 (11,016): HRconv2.*, att2.*, upconv2.*"
    )


@needs_data
def test_the_authors_weights_for_x2_start_a_network_for_x4():
    path = Path(str(DATA)) / "golden/weights/aan_x2.pt"
    x4, weights = srkit.create("architecture", "a2n", scale=4), read_weights(path)
    before = {name: tensor.clone() for name, tensor in x4.state_dict().items()}
    transfer = load_weights(x4, weights, path, "'a2n' at scale 4", fresh=NEW_AT_X4)
    assert transfer.line("aan_x2.pt") == (
        "taken 172 tensors (1,036,443 values) of aan_x2.pt, fresh 6 (11,016): HRconv2.*, att2.*, upconv2.*"
    )
    assert all(torch.equal(t, weights.get(name, before[name])) for name, t in x4.state_dict().items())


def test_a_file_that_fits_is_taken_whole():
    transfer = plan(OWN, dict(reversed(OWN.items())), "w.pt", "'net' at scale 2")
    assert transfer == Transfer(
        {"head.weight": 12, "head.bias": 4, "body.0.weight": 16, "body.1.weight": 16, "gain": 1}, {}
    )
    assert transfer.line(Path("w.pt")) == "taken 5 tensors (49 values) of w.pt"


def test_buffers_are_tensors_like_others():
    own = nn.BatchNorm2d(3)
    weights = {name: torch.full_like(tensor, 5) for name, tensor in own.state_dict().items()}
    assert load_weights(own, weights, "w.pt", "'net'").line("w.pt") == "taken 5 tensors (13 values) of w.pt"
    assert own.num_batches_tracked == 5
    del weights["num_batches_tracked"]
    assert rejected(own.state_dict(), weights)[1:2] == ["  missing: num_batches_tracked"]


def test_where_all_that_is_missing_lies_under_one_name_that_is_told():
    gan = {f"generator.{name}": shape for name, shape in OWN.items()} | {"critic.conv.weight": (3, 3)}
    assert rejected(OWN, gan)[-1] == (
        "  all that is missing is under generator: --key generator, in a recipe start.key"
    )
    assert "under" not in rejected(OWN, without(gan, "generator.gain"))[-1]


def test_every_such_name_is_told_and_the_moving_average_first():
    gan = {f"{name}.{key}": shape for name in ("generator", "generator_ema") for key, shape in OWN.items()}
    assert rejected(OWN, gan)[-1] == (
        "  all that is missing is under generator_ema: --key generator_ema, or under generator: --key generator, "
        "in a recipe start.key"
    )


def test_other_networks_of_a_file_that_fit_are_named_by_their_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own, small = network(OWN), network({"gain": ()})
    networks = {"netD": small.state_dict(), "netG": own.state_dict(), "netG_ema": own.state_dict()}
    torch.save({"state_dict": small.state_dict(), "all": networks}, "w.pt")
    with pytest.raises(InputRejected) as error:
        load_weights(own, read_weights(Path("w.pt")), "w.pt", "'net' at scale 2")
    assert "  what fits is under all.netG_ema: --key all.netG_ema, or under all.netG: --key all.netG, in a recipe " in (
        str(error.value)
    )
    load_weights(own, read_weights(Path("w.pt"), key="all.netG_ema"), "w.pt", "'net' at scale 2")


def test_quantised_weights_are_refused_and_the_network_is_as_it_was():
    own = nn.Conv2d(3, 4, 1)
    before = own.weight.detach().clone()
    weights = {"weight": torch.full((4, 3, 1, 1), 100, dtype=torch.int8), "bias": torch.zeros(4)}
    with pytest.raises(InputRejected) as error:
        load_weights(own, weights, "w.pt", "'net'")
    assert str(error.value) == (
        "w.pt: 1 of its tensors hold whole numbers, weight of int8 first: quantised weights are not read"
    )
    assert torch.equal(own.weight, before)


def test_what_may_be_fresh_is_taken_where_it_fits():
    transfer = plan(OWN, without(OWN, "body.1.weight"), "w.pt", "'net' at scale 2", fresh=["body.*"])
    assert transfer.line("w.pt") == "taken 4 tensors (33 values) of w.pt, fresh 1 (16): body.1.*"


def test_what_may_be_fresh_and_has_another_shape_is_fresh():
    found = {**OWN, "head.weight": (9, 3), "head.bias": (9,)}
    transfer = plan(OWN, found, "w.pt", "'net' at scale 2", fresh=["head.*"])
    assert transfer.line("w.pt") == "taken 3 tensors (33 values) of w.pt, fresh 2 (16): head.*"
    own = network(OWN)
    load_weights(own, {name: torch.ones(shape) for name, shape in found.items()}, "w.pt", "'net'", fresh=["head.*"])
    assert {name: tensor.unique().tolist() for name, tensor in own.state_dict().items()} == {
        **{name: [1.0] for name in OWN},
        "head.weight": [-1.0],
        "head.bias": [-1.0],
    }


def test_a_parameter_that_shares_its_name_with_none_is_named_itself():
    found = without(OWN, "gain", "head.bias")
    line = plan(OWN, found, "w.pt", "'net' at scale 2", fresh=["gain", "head.bias"]).line("w.pt")
    assert line == "taken 3 tensors (44 values) of w.pt, fresh 2 (5): gain, head.bias"


def test_a_module_is_fresh_where_all_below_it_is():
    own = {"a.b.c.w": (1,), "a.b.d.w": (1,), "a.e.w": (1,), "ab.w": (1,)}
    assert plan(own, {"ab.w": (1,)}, "w.pt", "'net'", fresh=["a.*"]).line("w.pt").endswith("fresh 3 (3): a.*")
    found = {"ab.w": (1,), "a.e.w": (1,)}
    assert plan(own, found, "w.pt", "'net'", fresh=["a.*"]).line("w.pt").endswith("fresh 2 (2): a.b.*")


def test_of_many_fresh_modules_the_first_are_named():
    own = {f"{letter}.w": (1,) for letter in "abcdefghijk"}
    line = plan(own, {"k.w": (1,)}, "w.pt", "'net'", fresh=["*"]).line("w.pt")
    assert (
        line == "taken 1 tensors (1 values) of w.pt, fresh 10 (10): a.*, b.*, c.*, d.*, e.*, f.*, g.*, h.* and 2 more"
    )


# What does not fit


def test_everything_that_is_wrong_is_told_at_once():
    found = {**without(OWN, "body.0.weight"), "body.0.wieght": (4, 4), "tail": (2,), "gain": (1,)}
    assert rejected(OWN, found, fresh=["bdy.*", "body.1.*"]) == [
        "w.pt: does not fit 'net' at scale 2: 1 missing, 2 left over, 1 of another shape, 1 unmatched in fresh",
        "  missing: body.0.weight",
        "  left over: body.0.wieght (did you mean body.0.weight?)",
        "  left over: tail",
        "  of another shape: gain is [1] in the file, [] in the network",
        "  unmatched in fresh: 'bdy.*' (did you mean body.*?)",
        '  if these may be new, under [start]: fresh = ["body.1.*", "body.0.*", "gain"]',
        "  what is left over is never dropped: it must be given its place in the file, or be taken out of it",
    ]


def test_of_many_the_first_are_named():
    found = {f"body.{i}.weight": (1,) for i in range(12)}
    own = {name.replace("body", "trunk"): shape for name, shape in found.items()}
    assert rejected({**own, "gain": (1,)}, {**found, "gain": (1,)}) == [
        "w.pt: does not fit 'net' at scale 2: 12 missing, 12 left over",
        *(f"  missing: trunk.{i}.weight" for i in range(8)),
        "  missing: and 4 more",
        *(f"  left over: body.{i}.weight (did you mean trunk.{i}.weight?)" for i in range(8)),
        "  left over: and 4 more",
        '  if these may be new, under [start]: fresh = ["trunk.*"]',
        "  what is left over is never dropped: it must be given its place in the file, or be taken out of it",
    ]


def test_what_is_left_over_is_an_error_also_where_everything_may_be_fresh():
    assert rejected(OWN, {**OWN, "body.2.weight": (4, 4)}, fresh=["*"]) == [
        "w.pt: does not fit 'net' at scale 2: 1 left over",
        "  left over: body.2.weight",
    ]


def test_a_name_that_is_taken_is_not_what_another_was_meant_to_be():
    assert rejected(OWN, {**OWN, "gains": ()})[1:] == ["  left over: gains"]


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [("body", " (did you mean body.*?)"), ("head.bais", " (did you mean head.bias?)"), ("upconv2.*", ""), ("", "")],
)
def test_a_pattern_that_matches_nothing_is_a_typo(pattern, meant):
    assert rejected(OWN, OWN, fresh=[pattern, "gain"]) == [
        "w.pt: fits 'net' at scale 2, but not with this fresh: 1 unmatched in fresh",
        f"  unmatched in fresh: '{pattern}'{meant}",
    ]


@pytest.mark.parametrize("found", [{}, dict.fromkeys(OWN, (7, 7))])
def test_a_file_of_which_nothing_would_be_taken_is_an_error(found):
    assert rejected(OWN, found, fresh=["*"]) == ["w.pt: does not fit 'net' at scale 2: nothing of it would be taken"]


def test_weights_of_another_network_are_not_offered_as_fresh():
    assert rejected({"a.weight": (1,)}, {"foreign": (1,)}) == [
        "w.pt: does not fit 'net' at scale 2: 1 missing, 1 left over; nothing of it would be taken",
        "  missing: a.weight",
        "  left over: foreign",
    ]


def test_a_model_to_use_is_offered_nothing_as_fresh():
    assert rejected(OWN, without(OWN, "gain"), fresh=None)[1:] == ["  missing: gain"]


def test_a_line_to_paste_is_never_longer_than_a_recipe_may_have():
    own = {f"body.{i}.norm.weight": (1,) for i in range(100)} | {f"body.{i}.conv.weight": (1,) for i in range(100)}
    found = {name: shape for name, shape in own.items() if "conv" in name}
    assert rejected(own, found)[-1] == '  if these may be new, under [start]: fresh = ["body.*"]'
    own = {f"layer{i}.weight": (1,) for i in range(100)}
    assert rejected(own, {"layer0.weight": (1,)})[-1] == "  missing: and 91 more"


def test_names_of_a_file_do_not_reach_the_terminal_as_they_are():
    assert rejected(OWN, {**OWN, "\x1b[31m\nred": (1,), "x" * 101: (1,)})[1:] == [
        r"  left over: \x1b[31m\nred",
        f"  left over: {'x' * 97}...",
    ]


def test_a_network_is_untouched_by_weights_that_do_not_fit():
    own = network(OWN)
    with pytest.raises(InputRejected):
        load_weights(own, {"gain": torch.tensor(1.0)}, "w.pt", "'net' at scale 2")
    assert own.get_parameter("gain") == -1


def test_tensors_without_names_are_no_weights(tmp_path):
    torch.save({0: torch.ones(3), 1: torch.ones(3)}, tmp_path / "w.pt")
    with pytest.raises(InputRejected) as error:
        read_weights(tmp_path / "w.pt")
    assert str(error.value) == f"{tmp_path / 'w.pt'}: holds something other than a state dict of tensors"


# Whatever the names are

NAMES = st.sampled_from([f"{module}{leaf}" for module in ("", "a.", "a.b.", "a.c.", "d.") for leaf in "wxy"])
SHAPES = st.dictionaries(NAMES, st.sampled_from([(), (1,), (2,), (2, 3)]), min_size=1)
RENAMINGS = st.dictionaries(NAMES, NAMES | st.sampled_from(["e.w", "a.b.v"]), max_size=4)
PATTERNS = st.lists(st.sampled_from(["*", "a.*", "a.b.*", "d.*", "*.w", "w", "*[xy]"]), max_size=4)


def renamed(shapes, renaming):
    """A file of these tensors under other names, swapped ones among them; the first of two with one name stays."""
    found = {}
    for name, shape in shapes.items():
        found.setdefault(renaming.get(name, name), shape)
    return found


@given(SHAPES, RENAMINGS, PATTERNS)
def test_no_tensor_is_ever_taken_under_another_name(shapes, renaming, patterns):
    found = renamed(shapes, renaming)
    weights = {name: torch.full(shape, float(i)) for i, (name, shape) in enumerate(found.items())}
    own = network(shapes)
    try:
        transfer = load_weights(own, weights, "w.pt", "'net'", fresh=patterns)
    except InputRejected:
        assert all((tensor == -1).all() for tensor in own.state_dict().values())
        return
    assert transfer.taken.keys() | transfer.fresh.keys() == shapes.keys()
    assert found.keys() <= shapes.keys()
    for name, tensor in own.state_dict().items():
        expected = weights[name] if name in transfer.taken else torch.full(shapes[name], -1.0)
        assert torch.equal(tensor, expected)
        assert (name in transfer.taken) == (found.get(name) == shapes[name])


@given(st.dictionaries(NAMES, st.sampled_from(["kept", "gone", "reshaped"])), PATTERNS)
def test_the_line_to_paste_is_all_that_was_needed(fates, patterns):
    fates |= {"a.v": "kept", "e.v": "gone"}
    own = dict.fromkeys(fates, (2,))
    found = {name: (2,) if fate == "kept" else (3,) for name, fate in fates.items() if fate != "gone"}
    last = rejected(own, found, fresh=[pattern for pattern in patterns if pattern != "*"])[-1]
    fresh = tomllib.loads(last.removeprefix("  if these may be new, under [start]: "))["fresh"]
    assert "*" not in fresh
    assert plan(own, found, "w.pt", "'net'", fresh=fresh).taken.keys() == {n for n in fates if fates[n] == "kept"}


@given(SHAPES.filter(lambda shapes: len(shapes) <= MOST), st.sets(NAMES))
def test_the_groups_of_a_line_are_what_is_fresh_and_no_more(shapes, kept):
    found = {name: shape for name, shape in shapes.items() if name in kept}
    assume(found and len(found) < len(shapes))
    groups = plan(shapes, found, "w.pt", "'net'", fresh=["*"]).line("w.pt").partition("): ")[2].split(", ")
    again = plan(shapes, found, "w.pt", "'net'", fresh=groups)
    assert again.fresh.keys() == shapes.keys() - found.keys()
    with pytest.raises(InputRejected):  # none of them could be left out
        plan(shapes, found, "w.pt", "'net'", fresh=groups[1:])


# As a recipe's start

SMALL = {"features": 4, "blocks": 1, "upsampling_features": 4}
START_X4 = ["scale=4", "data.patch=6", "train.steps=1", "start.weights=x2.safetensors"]
REJECTED = """\
x2.safetensors: does not fit 'a2n' at scale 4: 2 missing, 1 left over
  missing: att2.conv.weight
  missing: att2.conv.bias
  left over: att2.cnov.weight (did you mean att2.conv.weight?)
  if these may be new, under [start]: fresh = ["upconv2.*", "HRconv2.*", "att2.*"]
  what is left over is never dropped: it must be given its place in the file, or be taken out of it
"""


@pytest.fixture
def x2(tiny):
    """The weights of a network that is smaller by its scale, in the recipe's folder."""
    made = srkit.create("architecture", "a2n", scale=2, **SMALL)
    save_model(Path("x2.safetensors"), made.state_dict(), {"architecture": "a2n", "settings": SMALL, "scale": 2})


def spoil_x2():
    weights = read_weights(Path("x2.safetensors"))
    safetensors.torch.save_file({**weights, "att2.cnov.weight": torch.ones(1)}, "x2.safetensors")
    start = [*START_X4, 'start.fresh=["upconv2.*", "HRconv2.*"]']
    return [word for text in start for word in ("--set", text)]


def test_a_run_that_cannot_start_says_why_on_several_lines(tiny, x2, srkit_forked):
    ended = srkit_forked("run", "tiny.toml", *spoil_x2())
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", REJECTED)
    assert not Path("runs").exists()


def test_check_says_the_same(tiny, x2, capsys):
    assert main(["check", "tiny.toml", *spoil_x2()]) == 3
    assert capsys.readouterr() == ("", REJECTED)


def test_a_run_says_what_it_took(tiny, x2, caplog):
    caplog.set_level("INFO")
    srkit.run(tiny, out="run", set=[*START_X4, f"start.fresh={NEW_AT_X4}"])
    assert (
        "taken 22 tensors (1,321 values) of x2.safetensors, fresh 6 (316): HRconv2.*, att2.*, upconv2.*"
        in caplog.messages
    )
