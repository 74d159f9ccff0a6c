"""Runs that start from other runs: what is trained, what is used, and what is refused before anything is trained."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import srkit
from srkit.cli import main
from srkit.engine.builder import Builder
from srkit.engine.running.stages import load_stages
from srkit.engine.weights import model
from srkit.errors import InputRejected, RecipeError, Stopped, UsageError
from srkit.plugin.discovery import installed
from tests import forking
from tests.conftest import TINY

X4 = """\
extends = "tiny.toml"
title = "Tiny x4"
scale = 4

[start]
recipe = "tiny.toml"
fresh = ["upconv2.*", "att2.*", "HRconv2.*"]
"""


@pytest.fixture
def x4(tiny):
    """A recipe for x4 that starts from the tiny one for x2, in an empty folder with its photographs."""
    path = tiny.with_name("x4.toml")
    path.write_text(X4)
    return path


def train(recipe, *overrides, out="runs/try/x4", **options):
    return srkit.run(recipe, out=out, set=list(overrides), **options)


def events(run):
    return [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]


def stages(recipe, *overrides, out="runs/try/x4", restart=False):
    found = load_stages(Path(recipe), Builder(installed()), Path(out), overrides=overrides, restart=restart)
    return [(stage.name, stage.state) for stage in found]


def test_the_first_stage_is_trained_beside_and_its_best_weights_are_taken_by_name(x4, caplog):
    caplog.set_level(logging.INFO, "srkit")
    result = train(x4, "optimizer.lr=1e-12")
    assert result.step == 6
    assert sorted(path.name for path in Path("runs/try").iterdir()) == ["tiny", "x4"]
    first, second = (model.read_weights(Path("runs/try", name, "best.safetensors")) for name in ("tiny", "x4"))
    assert all((first[name] - second[name]).abs().max() < 1e-6 for name in first)
    assert {name.partition(".")[0] for name in second.keys() - first.keys()} == {"upconv2", "att2", "HRconv2"}
    values = sum(tensor.numel() for tensor in first.values())
    fresh = sum(tensor.numel() for tensor in second.values()) - values
    line = (
        f"taken {len(first)} tensors ({values:,} values) of runs/try/tiny/best.safetensors, "
        f"fresh 6 ({fresh:,}): HRconv2.*, att2.*, upconv2.*"
    )
    said = [record.message for record in caplog.records]
    assert "stage 1 of 2: tiny is trained in runs/try/tiny" in said
    assert said.index("stage 2 of 2: x4 is trained in runs/try/x4") < said.index(line)
    assert events("runs/try/x4")[0]["facts"]["started"] == line
    assert model.read_metadata(Path("runs/try/x4/best.safetensors"))["started"] == line


def test_a_finished_stage_is_used_even_without_its_images(x4, caplog):
    train("tiny.toml", out="runs/try/tiny")
    before = Path("runs/try/tiny/best.safetensors").stat().st_mtime_ns
    caplog.set_level(logging.INFO, "srkit")
    assert stages(x4) == [("tiny", "finished"), ("x4", "new")]
    Path("photos").rename("photographs")
    moved = '{ type = "folder", path = "photographs" }'
    x4.write_text(f'{X4}\n[data]\ndataset = {moved}\n[[validate]]\nname = "photos"\ndataset = {moved}\n')
    train(x4)
    assert Path("runs/try/tiny/best.safetensors").stat().st_mtime_ns == before
    assert "stage 1 of 2: tiny is finished: used from runs/try/tiny" in [record.message for record in caplog.records]


def test_the_images_of_a_finished_stage_may_have_moved(x4):
    train("tiny.toml", out="runs/try/tiny")
    Path("photos").rename("photographs")
    moved = ["data.dataset.path=photographs", "validate.0.dataset.path=photographs"]
    assert stages(x4, *moved) == [("tiny", "finished"), ("x4", "new")]
    Path("photographs/p0.png").unlink()
    with pytest.raises(UsageError) as error:
        stages(x4, *moved)
    assert "data.dataset.path was 'photos', is 'photographs'" in str(error.value)


def test_an_unfinished_stage_is_continued(x4):
    train("tiny.toml", out="runs/try/tiny")
    assert stages(x4, "train.steps=8") == [("tiny", "unfinished"), ("x4", "new")]
    train(x4, "train.steps=8")
    assert [event["step"] for event in events("runs/try/tiny") if event["event"] == "run_started"] == [0, 6]
    assert events("runs/try/tiny")[-1]["step"] == 8


def test_a_run_that_has_begun_needs_the_stage_before_it_no_more(x4):
    train(x4)
    shutil.rmtree("runs/try/tiny")
    assert stages(x4) == [("x4", "finished")]
    assert train(x4, "train.steps=8").step == 8
    assert not Path("runs/try/tiny").exists()


def test_restart_is_of_the_last_stage_alone(x4):
    train(x4)
    before = Path("runs/try/tiny/best.safetensors").stat().st_mtime_ns
    assert stages(x4, restart=True) == [("tiny", "finished"), ("x4", "new")]
    train(x4, restart=True)
    assert Path("runs/try/tiny/best.safetensors").stat().st_mtime_ns == before
    assert len([path for path in Path("runs/try").iterdir() if path.name.startswith("x4.")]) == 1


def test_set_reaches_every_stage_but_for_what_is_a_stages_own(x4):
    train(x4, "title=Mine", "architecture.features=5", 'start.fresh=["upconv2.*", "att2.*", "HRconv2.*"]', "seed=7")
    tiny, last = (srkit.load_recipe(f"runs/try/{name}/recipe.toml") for name in ("tiny", "x4"))
    assert (tiny.title, tiny.scale, tiny.start.fresh) == ("Tiny", 2, ())
    assert (last.title, last.scale) == ("Mine", 4)
    assert tiny.architecture.settings["features"] == last.architecture.settings["features"] == 5
    assert tiny.seed == last.seed == 7


def test_stages_nest(x4):
    Path("fine.toml").write_text('extends = "x4.toml"\n[start]\nrecipe = "x4.toml"\n')
    train("fine.toml", out="runs/fine")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["fine", "tiny", "x4"]
    assert events("runs/fine")[0]["facts"]["started"].startswith("taken ")


def test_a_circle_is_an_error(x4, tiny):
    with tiny.open("a") as file:
        file.write('[start]\nrecipe = "x4.toml"\n')
    with pytest.raises(RecipeError) as error:
        train(x4)
    place = len(tiny.read_text().splitlines())
    assert str(error.value) == f"{tiny}:{place}: 'x4.toml' leads back to itself"


def test_a_recipe_that_is_not_there_is_an_error_of_its_line(x4):
    x4.write_text(X4.replace('recipe = "tiny.toml"', 'recipe = "a2n_x22.toml"'))
    with pytest.raises(RecipeError) as error:
        train(x4)
    assert str(error.value) == (
        f"{x4}:6: there is no recipe a2n_x22.toml, neither a file nor a packaged one; did you mean 'a2n_x2'?"
    )


def test_weights_and_a_recipe_exclude_each_other(x4):
    with pytest.raises(RecipeError) as error:
        train(x4, "start.weights=tiny.safetensors")
    assert str(error.value) == f"{x4}:6: start.weights is set, too: give one of them"


def test_weights_that_cannot_fit_are_told_before_the_first_stage_is_trained(x4):
    x4.write_text(X4.replace('"att2.*", ', ""))
    with pytest.raises(InputRejected) as error:
        train(x4)
    assert "missing: att2.conv.weight" in str(error.value)
    assert 'fresh = ["upconv2.*", "HRconv2.*", "att2.*"]' in str(error.value)
    assert not Path("runs").exists()


def test_images_that_a_later_stage_lacks_are_told_before_the_first_one_is_trained(x4):
    with pytest.raises(RecipeError) as error:
        srkit.run(x4, out="runs/try/x4", set=["data.patch=16"])
    assert "none of the 4 images is as large as a patch: 16 LR pixels at scale 4 need 64x64" in str(error.value)
    assert not Path("runs").exists()


def test_a_stage_of_another_recipe_is_refused_by_its_keys(x4):
    train("tiny.toml", "seed=3", out="runs/try/tiny")
    with pytest.raises(UsageError) as error:
        train(x4)
    assert str(error.value).splitlines()[:2] == [
        "x4.toml starts from tiny.toml: runs/try/tiny holds a run that cannot be continued with this recipe:",
        "  seed was 3, is 0",
    ]


def advice(error):
    """Return the last lines of an error, which say what to do: {what for: the words to add to the command}."""
    lines = [line.partition(": ") for line in str(error.value).splitlines() if line.startswith("to ")]
    return {what: shlex.split(words) for what, _, words in lines}


def test_what_to_do_with_a_stage_of_another_recipe_works(x4):
    out = "runs/my tries/x4"
    train("tiny.toml", "optimizer.lr=2e-3", out="runs/my tries/tiny")
    with pytest.raises(UsageError) as error:
        train(x4, "train.accumulate=2", "title=Mine", out=out)
    assert str(error.value) == (
        "x4.toml starts from tiny.toml: runs/my tries/tiny holds a run that cannot be continued with this recipe:\n"
        "  optimizer.lr was 0.002, is 0.001\n"
        "  train.accumulate was 1, is 2\n"
        "to start from that run as it is: --set x4:start.recipe= --set 'x4:start.weights=runs/my tries/tiny'\n"
        "to train that stage anew: rename runs/my tries/tiny, or give an --out DIR in another folder"
    )
    words = advice(error)["to start from that run as it is"]
    train(x4, "train.accumulate=2", "title=Mine", *words[1::2], out=out)
    recipe = srkit.load_recipe(f"{out}/recipe.toml")
    assert (recipe.start.recipe, recipe.start.weights) == ("", "runs/my tries/tiny")
    with pytest.raises(UsageError) as error:
        train(x4, "train.accumulate=2", out="runs/my tries/again")
    Path("runs/my tries/tiny").rename("runs/my tries/old")
    assert stages(x4, "train.accumulate=2", out="runs/my tries/again") == [("tiny", "new"), ("x4", "new")]


def test_a_setting_for_the_last_stage_alone_leaves_a_finished_one_as_it_is(x4):
    train("tiny.toml", "data.batch=3", out="runs/try/tiny")
    with pytest.raises(UsageError) as error:
        train(x4, "data.batch=3", "optimizer.lr=2e-4", "train.steps=8")
    assert str(error.value).splitlines()[1:3] == [
        "  optimizer.lr was 0.001, is 0.0002",
        "to change x4 alone, in place of --set optimizer.lr=2e-4: --set x4:optimizer.lr=2e-4",
    ]
    assert (
        train(
            x4,
            "data.batch=3",
            "x4:train.steps=8",
            advice(error)["to change x4 alone, in place of --set optimizer.lr=2e-4"][1],
        ).step
        == 8
    )
    tiny, last = (srkit.load_recipe(f"runs/try/{name}/recipe.toml") for name in ("tiny", "x4"))
    assert (tiny.optimizer.settings["lr"], tiny.train.steps) == (1e-3, 6)
    assert (last.optimizer.settings["lr"], last.train.steps) == (2e-4, 8)


def test_a_setting_of_one_stage_goes_before_that_of_all_and_may_be_any_key(x4):
    settings = ["tiny:seed=5", "tiny:title=Mine", "seed=3", "x4:architecture.img_range=2.0", "train.steps=3"]
    train(x4, *settings)
    tiny, last = (srkit.load_recipe(f"runs/try/{name}/recipe.toml") for name in ("tiny", "x4"))
    assert (tiny.seed, tiny.title, tiny.architecture.settings["img_range"]) == (5, "Mine", 1.0)
    assert (last.seed, last.title, last.architecture.settings["img_range"]) == (3, "Tiny x4", 2.0)
    assert stages(x4, *settings) == [("x4", "finished")]
    assert stages(x4, *settings, "tiny:seed=9") == [("x4", "finished")]  # it needs tiny no more
    Path("tiny.toml").rename("gone.toml")
    x4.write_text(x4.read_text().replace('extends = "tiny.toml"', 'extends = "gone.toml"'))
    assert stages(x4, *settings) == [("x4", "finished")]


def test_an_unknown_stage_is_named_with_what_is_near(x4):
    said = "--set tini:seed=5: there is no stage 'tini'; did you mean 'tiny'?"
    with pytest.raises(UsageError) as error:
        train(x4, "tini:seed=5")
    assert str(error.value) == said
    train(x4)
    with pytest.raises(UsageError) as error:
        train(x4, "tini:seed=5")
    assert str(error.value) == said
    with pytest.raises(UsageError) as error:
        srkit.load_recipe("tiny.toml", set=["first:seed=5"])
    assert str(error.value) == "--set first:seed=5: there is no stage 'first'; there are: tiny"
    Path("photos").rename("photographs")  # before what is wrong with images
    with pytest.raises(UsageError) as error:
        train(x4, "x3:seed=5", out="runs/new/x4")
    assert str(error.value) == "--set x3:seed=5: there is no stage 'x3'; there are: tiny, x4"
    assert not Path("runs/tiny").exists()


def test_a_mistake_in_a_setting_of_one_stage_is_shown_as_it_was_given(x4):
    with pytest.raises(RecipeError) as error:
        train(x4, "tiny:train.stpes=5")
    assert str(error.value).splitlines() == [
        "--set tiny:train.stpes=5: unknown key 'stpes'; did you mean 'steps'?",
        "(tiny.toml, from which x4.toml starts)",
    ]


def test_check_looks_at_the_stages_with_their_own_settings(x4, capsys):
    assert main(["check", "x4.toml", "--set", "tiny:train.steps=9", "--set", "x4:train.steps=5"]) == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines() if " training " in line]
    assert [words[1] for words in told] == ["9", "5"]


def test_a_middle_stage_that_has_begun_needs_the_one_before_it_no_more(x4):
    Path("fine.toml").write_text('extends = "x4.toml"\n[start]\nrecipe = "x4.toml"\n')
    train(x4)
    shutil.rmtree("runs/try/tiny")
    assert stages("fine.toml", out="runs/try/fine") == [("x4", "finished"), ("fine", "new")]
    shutil.rmtree("runs/try/x4/checkpoints")
    Path("runs/try/x4/last.safetensors").unlink()  # as one that was killed before it saved anything
    found = stages("fine.toml", out="runs/try/fine")
    assert found == [("tiny", "new"), ("x4", "new"), ("fine", "new")]


def test_what_fails_in_an_earlier_stage_says_how_to_run_it_alone(x4, srkit_forked):
    Path("tiny.toml").write_text(TINY.replace("steps = 6", "steps = 20"))
    run = ["run", "x4.toml", "--out", "runs/my tries/x4", "--set", "tiny:optimizer.lr=1e9"]
    done = srkit_forked(*run)
    assert done.returncode == 1
    first, *_, last = done.stderr.splitlines()[-2:]
    assert first.endswith("try a lower optimizer.lr, or train.clip, with --restart")
    what, _, command = last.partition(": ")
    assert what == "that was stage 1 of 2; alone"
    words = shlex.split(command)
    assert words == [
        "srkit", "run", str(Path("tiny.toml")), "--out", "runs/my tries/tiny", "--set", "tiny:optimizer.lr=1e9",
    ]  # fmt: skip
    assert srkit_forked(*words[1:-1], "tiny:optimizer.lr=1e-3", "--restart").returncode == 0
    assert srkit_forked(*run[:-2]).returncode == 0


def test_a_directory_of_something_else_is_refused_before_the_first_stage_is_trained(x4):
    Path("runs/try/x4").mkdir(parents=True)
    Path("runs/try/x4/notes").touch()
    with pytest.raises(UsageError) as error:
        train(x4)
    message = "runs/try/x4 is not a run directory and holds notes; choose another with --out DIR"
    assert str(error.value) == message
    assert main(["check", "x4.toml", "--out", "runs/try/x4"]) == 2
    assert not Path("runs/try/tiny").exists()


def test_check_refuses_what_run_would_refuse(x4, capsys):
    train(x4)
    assert main(["check", "x4.toml", "--out", "runs/try/x4", "--set", "seed=3"]) == 2
    assert "  seed was 0, is 3" in capsys.readouterr().err
    assert main(["check", "x4.toml", "--out", "runs/try/tiny"]) == 2
    assert "  scale was 2, is 4" in capsys.readouterr().err


def test_check_without_out_says_that_another_run_is_there(x4, capsys):
    train("tiny.toml", out="runs/tiny")
    assert main(["check", "tiny.toml", "--set", "seed=3"]) == 0
    assert (
        "    state      runs/tiny holds another run (seed was 0, is 3): `srkit run` needs --out DIR or --restart"
        in capsys.readouterr().out
    )


def test_settings_that_differ_between_stages_are_named(x4):
    x4.write_text(X4 + "\n[architecture]\nfeatures = 6\n")
    with pytest.raises(InputRejected) as error:
        train(x4)
    assert str(error.value).splitlines()[-1] == f"  {x4.with_name('tiny.toml')} has features = 4, not 6"


def test_a_problem_of_an_earlier_stage_says_whose_it_is(x4):
    x4.write_text('scale = 4\n[start]\nrecipe = "tiny.toml"\n' + TINY.partition("scale = 2")[2])
    Path("tiny.toml").write_text(TINY.replace('"a2n"', '"a3n"'))
    with pytest.raises(RecipeError) as error:
        train(x4)
    assert str(error.value).splitlines()[-1] == "(tiny.toml, from which x4.toml starts)"


def test_best_weights_that_are_gone_are_written_again(x4):
    train("tiny.toml", out="runs/try/tiny")
    Path("runs/try/tiny/best.safetensors").unlink()
    assert stages(x4) == [("tiny", "unfinished"), ("x4", "new")]
    assert train(x4).step == 6
    assert Path("runs/try/tiny/best.safetensors").is_file()


def test_a_run_of_a_packaged_recipes_name_does_not_hide_the_recipe(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()
    assert main(["check", "quickstart"]) == 0


def test_two_stages_cannot_have_one_directory(x4):
    with pytest.raises(UsageError) as error:
        train(x4, out="runs/tiny")
    assert (
        str(error.value)
        == f"runs/tiny would be the run of {x4.with_name('tiny.toml')} and of {x4}; give another --out DIR"
    )


def test_an_override_that_a_stage_cannot_take_says_which(x4):
    x4.write_text(X4.replace("scale = 4\n", 'scale = 4\nloss = ["l1", "l2"]\n'))
    with pytest.raises(UsageError) as error:
        train(x4, "loss.1.weight=0.5")
    assert str(error.value) == (
        "x4.toml starts from tiny.toml: --set loss.1.weight=0.5: "
        "loss has 1 entry, counted from 0; to add one, give the whole array; "
        "for one stage alone, write --set x4:KEY=VALUE"
    )


def test_a_setting_that_shapes_do_not_show_is_warned_of(x4, caplog):
    train("tiny.toml", out="first")
    train("tiny.toml", 'start.weights="first"', "architecture.img_range=255.0", out="second")
    warning = "first/best.safetensors was trained with img_range = 1.0, this network has 255.0"
    assert warning in [record.message for record in caplog.records]


def test_a_run_that_is_stopped_in_its_first_stage_goes_on_from_there(x4):
    seldom = ["--set", "train.steps=200", "--set", "train.validate_every=100", "--set", "train.checkpoint_every=100"]
    command = ["-m", "srkit", "run", "x4.toml", "--out", "runs/x4", *seldom]
    with forking.Process(*command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 4/200"):
                process.send_signal(signal.SIGINT)
                break
        process.stderr.read()
    assert process.returncode == Stopped.exit_code
    assert not Path("runs/x4").exists()
    assert stages("x4.toml", *seldom[1::2], out="runs/x4") == [("tiny", "unfinished"), ("x4", "new")]
    assert forking.run(*command).returncode == 0
    assert stages("x4.toml", *seldom[1::2], out="runs/x4") == [("x4", "finished")]
    assert events("runs/x4")[-1]["outcome"] == "finished"


def test_check_shows_the_stages_and_their_state(x4, capsys):
    assert main(["check", "x4.toml"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == f"ok  Tiny  {x4.with_name('tiny.toml').name}"
    assert lines[1] == "    state      not begun; `srkit run` trains it first, in runs/tiny"
    assert "ok  Tiny x4  x4.toml" in lines
    assert lines[-1].startswith("    start      takes ")
    assert lines[-1].endswith("of runs/tiny/best.safetensors, fresh 6 (316): HRconv2.*, att2.*, upconv2.*")
    assert main(["run", "tiny.toml"]) == 0
    assert main(["check", "x4.toml"]) == 0
    assert "    state   finished; its best weights are used, in runs/tiny" in capsys.readouterr().out
    assert main(["run", "x4.toml"]) == 0
    capsys.readouterr()
    assert main(["check", "x4.toml"]) == 0
    assert "    state      finished, in runs/x4" in capsys.readouterr().out
    assert main(["check", "x4.toml", "--set", "train.steps=9"]) == 0
    assert "    state      begun; `srkit run` continues it, in runs/x4" in capsys.readouterr().out
