"""Whole runs: continued to the bit, killed, stopped, diverged, with a full disk, with damaged checkpoints."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
from srkit.cli.output import print_tables
from srkit.engine.weights import model
from srkit.errors import ComponentError, InputRejected, RecipeError, RunFailed, Stopped, UsageError
from srkit.plugin.discovery import discover
from tests import forking
from tests.conftest import TINY, installed_names

LONG = ["train.steps=40", "train.checkpoint_every=4", "train.validate_every=20", "train.log_every=5", "train.ema=0.9"]
EXACT = ["train.deterministic=run", *LONG]


def train(recipe, out, *overrides, **options):
    return srkit.run(recipe, out=out, set=list(overrides), **options)


def contents(path: Path) -> dict[str, bytes]:
    """The bytes that a finished run is judged by: both models, the last checkpoint, the scores."""
    found = {name: (path / name).read_bytes() for name in ("best.safetensors", "last.safetensors", "recipe.toml")}
    last = sorted((path / "checkpoints").iterdir())[-1]
    found |= {f"{last.name}/{file.name}": file.read_bytes() for file in sorted(last.iterdir())}
    scores = [json.loads(line) for line in (path / "metrics.jsonl").read_bytes().splitlines()]
    found["scores"] = repr([(e["step"], e["tables"]) for e in scores if e["event"] == "validated"]).encode()
    found["losses"] = repr([(e["step"], e["loss"]) for e in scores if e["event"] == "logged"]).encode()
    return found


def assert_same(first: dict[str, bytes], second: dict[str, bytes]) -> None:
    assert [name for name in {*first, *second} if first.get(name) != second.get(name)] == []


def test_a_run_leaves_its_record_models_and_pictures(tiny):
    result = train(tiny, "run")
    assert result.step == 6
    assert sorted(p.name for p in Path("run").iterdir() if p.name[0] != ".") == [
        "best.safetensors",
        "checkpoints",
        "environment.json",
        "last.safetensors",
        "log.txt",
        "metrics.jsonl",
        "recipe.toml",
        "report.html",
        "samples",
    ]
    assert sorted(p.name for p in Path("run/checkpoints").iterdir()) == ["step_00000003", "step_00000006"]
    with Image.open("run/samples/step_00000006_photos.png") as picture:
        assert picture.size[0] > 1000
    events = [json.loads(line)["event"] for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert events == [
        "run_started",
        *["logged", "validated", "saved", "logged", "logged", "validated", "saved"],
        "run_ended",
    ]
    environment = json.loads(Path("run/environment.json").read_text())
    assert environment["plugins"]["srkit"] == srkit.__version__
    assert set(environment["fingerprints"]) == {"data.dataset", "validate.0.dataset"}


def test_the_model_file_describes_itself_and_holds_a_bare_state_dict(tiny):
    train(tiny, "run", "train.ema=0.9")
    described = model.read_metadata(Path("run/best.safetensors"))
    assert {key: described[key] for key in ("architecture", "scale", "settings", "distribution", "version")} == {
        "architecture": "a2n",
        "scale": 2,
        "settings": {
            "features": 4,
            "blocks": 1,
            "upsampling_features": 4,
            "img_range": 1.0,
            "non_attention_kernel": 3,
        },
        "distribution": "srkit",
        "version": srkit.__version__,
    }
    assert described["scores"][0]["protocol"]["border"] == {"psnr_y": 2, "ssim_y": 2}
    own = srkit.create("architecture", "a2n", scale=2, features=4, blocks=1, upsampling_features=4).state_dict()
    weights = model.read_weights(Path("run/best.safetensors"))
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in own.items()}
    image = np.zeros((9, 7, 3), np.uint16)
    assert srkit.upscale(image, srkit.load("run")).shape == (18, 14, 3)


def test_the_table_of_a_run_is_the_one_that_evaluation_gives(tiny):
    result = train(tiny, "run")
    tables = srkit.evaluate({"a2n": srkit.load("run/last.safetensors")}, {"photos": "photos"}, scale=2)
    assert tables == result.tables
    assert [row["model"] for row in tables[0]["rows"]] == ["a2n", "bicubic"]


def test_the_same_recipe_gives_the_same_bits_twice_and_another_seed_does_not(tiny):
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tiny, out, f"seed={seed}", *EXACT)
    assert_same(contents(Path("a")), contents(Path("b")))
    assert contents(Path("a"))["last.safetensors"] != contents(Path("c"))["last.safetensors"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_a_checkpoint_and_the_same_command_goes_on(tiny, number):
    command = ["-m", "srkit", "run", "tiny.toml", "--out", "run", "--set", "train.steps=100000"]
    command += ["--set", "train.deterministic=run"]
    process = forking.Process(*command, stderr=subprocess.PIPE)
    while not Path("run/checkpoints/step_00000006").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == 75
    name = signal.Signals(number).name
    assert f"stopped by {name} at step " in stderr
    assert stderr.endswith("with a checkpoint saved\nto continue, run the same command again\n")
    last = max(int(p.name[5:]) for p in Path("run/checkpoints").iterdir())
    assert f"at step {last} of 100000" in stderr
    if number == signal.SIGTERM:  # steps at which a signal came are no different from others
        settings = ["train.deterministic=run", f"train.steps={last + 5}"]
        (Path("run") / "recipe.toml").write_text((Path("run") / "recipe.toml").read_text().replace("100000", str(last)))
        train(tiny, "run", *settings)
        train(tiny, "straight", *settings)
        ended = [contents(Path(p))["last.safetensors"] for p in ("run", "straight")]
        assert ended[0] == ended[1]


def test_a_second_signal_ends_the_process_at_once(tiny, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import signal, time, srkit\n"
        "class Slow:\n"
        "    def logged(self, step, values):\n"
        "        asked = signal.getsignal(signal.SIGTERM).__self__\n"
        "        print('ready', flush=True)\n"
        "        while not asked():\n            time.sleep(0.01)\n"
        "        print('asked', flush=True)\n"
        "        while True:\n            time.sleep(0.01)\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('observer', 'slow', f'{__name__}:Slow')\n"
    )
    command = ["-m", "srkit", "-p", "slow.py", "run", "tiny.toml", "--set", 'observer=["slow"]']
    process = forking.Process(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "asked\n"  # two signals of one number that are pending are one
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM


def test_a_second_process_in_the_same_directory_is_refused(tiny):
    command = ["-m", "srkit", "run", "tiny.toml", "--out", "run", "--set", "train.steps=100000"]
    first = forking.Process(*command, stderr=subprocess.DEVNULL)
    try:
        while not Path("run/metrics.jsonl").exists():
            assert first.poll() is None
            time.sleep(0.02)
        with pytest.raises(UsageError) as error:
            train(tiny, "run", "train.steps=100000")
        assert str(error.value) == ("another process is training in run; wait for it, or choose another --out DIR")
    finally:
        first.kill()
        first.wait()
    # The lock of a process that was killed is nobody's.
    with pytest.raises(Stopped):
        train(tiny, "run", "train.steps=100000", "train.log_every=1", observers=["stopper"], registry=stopper())


def stopper(at: int = 1):
    """A registry with an observer that asks the process to stop when it is first told of a step."""
    path = Path("stopper.py")
    path.write_text(
        "import os, signal, srkit\n"
        "class Stopper:\n"
        f"    def logged(self, step, values):\n        if step >= {at}: os.kill(os.getpid(), signal.SIGTERM)\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('observer', 'stopper', f'{__name__}:Stopper')\n"
    )
    return discover([str(path)])


def test_a_finished_run_is_not_trained_again_and_more_steps_continue_it(tiny):
    train(tiny, "run")
    before = contents(Path("run"))
    again = train(tiny, "run")
    assert (again.was_finished, again.step, len(again.tables)) == (True, 6, 1)
    assert_same(before, contents(Path("run")))
    more = train(tiny, "run", "train.steps=9")
    assert (more.was_finished, more.step) == (False, 9)


def test_a_run_that_has_ended_and_lost_its_checkpoints_is_not_trained_over(tiny):
    train(tiny, "run")
    before = Path("run/last.safetensors").read_bytes()
    shutil.rmtree("run/checkpoints")
    with pytest.raises(UsageError) as error:
        train(tiny, "run")
    assert str(error.value) == (
        "run holds a run that has ended, and none of its checkpoints, without which it would be trained anew over its "
        "models; use --restart to set it aside, or --out DIR for another place"
    )
    assert Path("run/last.safetensors").read_bytes() == before
    assert train(tiny, "run", restart=True).step == 6


def test_a_longer_run_whose_learning_rate_rises_says_so(tiny, caplog):
    cosine = "schedule.type=cosine"
    train(tiny, "run", cosine)
    train(tiny, "run", cosine, "train.steps=9")
    risen = [record.message for record in caplog.records if "rises" in record.message]
    # (1 + cos(pi 5/6)) / 2 and (1 + cos(pi 6/9)) / 2 of 1e-3
    assert risen == ["the learning rate rises from 6.7e-05 to 0.00025: 'cosine' now ends at step 9"]


def test_a_longer_run_whose_schedule_rises_as_it_would_have_is_not_warned_of(tiny, caplog):
    warming = "schedule={type='multistep', milestones=[8], warmup=7}"
    train(tiny, "run", warming, "train.steps=3")
    train(tiny, "run", warming, "train.steps=9")
    assert not [record.message for record in caplog.records if "rises" in record.message]


def test_without_validation_the_best_is_the_last_also_of_a_run_that_is_extended(tiny):
    for steps in (3, 6):
        train(tiny, "run", "validate=[]", f"train.steps={steps}")
        assert model.read_metadata(Path("run/best.safetensors"))["step"] == steps


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tiny, caplog):
    train(tiny, "straight", *EXACT)
    train(tiny, "run", *EXACT)
    Path("run/last.safetensors").unlink()
    damaged = Path("run/checkpoints/step_00000040/weights.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    caplog.clear()
    train(tiny, "run", *EXACT)
    assert caplog.messages[0] == (
        f"{damaged}: is damaged: its size or its sha256 is not the manifest's; the checkpoint before it is used"
    )
    assert_same(contents(Path("straight")), contents(Path("run")))


def test_with_no_whole_checkpoint_a_run_is_not_begun_anew_in_silence(tiny):
    train(tiny, "run")
    Path("run/last.safetensors").unlink()
    for path in Path("run/checkpoints").iterdir():
        (path / "MANIFEST.json").unlink()
    with pytest.raises(RunFailed) as error:
        train(tiny, "run")
    assert str(error.value).startswith("no checkpoint is whole:\n")
    assert str(error.value).endswith("\nuse --restart to begin anew")
    train(tiny, "run", restart=True)
    aside = [p for p in Path().iterdir() if p.name.startswith("run.")]
    assert len(aside) == 1
    assert (aside[0] / "best.safetensors").exists()


def test_the_last_checkpoints_and_the_best_are_kept(tiny):
    train(tiny, "run", "train.steps=12", "train.checkpoint_every=2", "train.validate_every=2", "train.keep=2")
    events = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    scores = {e["step"]: e["tables"][0]["rows"][0]["mean"]["psnr_y"] for e in events if e["event"] == "validated"}
    best = max(scores, key=scores.__getitem__)
    kept = sorted(int(p.name[5:]) for p in Path("run/checkpoints").iterdir())
    assert kept == sorted({best, 10, 12})
    assert model.read_metadata(Path("run/best.safetensors"))["step"] == best


def test_a_full_disk_does_not_end_a_run_but_its_last_save_must_succeed(tiny):
    script = """
        import resource, signal, sys, srkit
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        import logging; logging.basicConfig(format="%(message)s")
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

        class Disk:
            # Full from step 2 on; room again from the step that is asked for.
            def logged(self, step, values):
                room = step >= int(sys.argv[1])
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard if room else 300, hard))

        @srkit.hookimpl
        def srkit_components():
            yield srkit.Component("observer", "disk", "__main__:Disk")

        from srkit.plugin.discovery import _load, discover
        from srkit.plugin.registry import Origin
        registry = discover()
        _load(registry, "disk", sys.modules["__main__"], Origin("disk"))
        try:
            srkit.run("tiny.toml", out="run", observers=["disk"], registry=registry, set=["train.log_every=1"])
        except srkit.RunFailed as error:
            print(error)
            sys.exit(error.exit_code)
    """
    never = forking.run("-c", textwrap.dedent(script), "99")
    assert never.returncode == 1, never.stderr
    assert never.stdout == "run: the last step could not be saved: File too large; free some space and run again\n"
    assert "the run goes on and tries again" in never.stderr
    assert [p for p in Path("run").rglob("*.safetensors") if "checkpoints" not in p.parts] == []
    again = forking.run("-c", textwrap.dedent(script), "5")
    assert again.returncode == 0, again.stderr
    assert sorted(p.name for p in Path("run/checkpoints").iterdir()) == ["step_00000006"]
    steps = [json.loads(line)["step"] for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_a_longer_run_whose_last_save_failed_is_not_taken_for_finished(tiny):
    train(tiny, "run")
    # As it is after a kill between the last checkpoint and the last weights.
    old = Path("run/last.safetensors").read_bytes()
    train(tiny, "run", "train.steps=9")
    Path("run/last.safetensors").write_bytes(old)
    again = train(tiny, "run", "train.steps=9")
    assert (again.was_finished, model.step_of(Path("run/last.safetensors"))) == (False, 9)
    assert train(tiny, "run", "train.steps=9").was_finished


def test_a_run_that_was_stopped_before_its_first_step_goes_on_whatever_the_schedule_is_below_0(tiny):
    Path("mine.py").write_text(
        "import os, signal, srkit\n"
        "def root(*, steps: int): return lambda step: (step + 1) ** -0.5\n"
        "class Stopper:\n"
        "    def run_started(self, run): os.kill(os.getpid(), signal.SIGTERM)\n"
        "@srkit.hookimpl\n"
        "def srkit_components():\n"
        '    yield srkit.Component("schedule", "root", f"{__name__}:root")\n'
        '    yield srkit.Component("observer", "stopper", f"{__name__}:Stopper")\n'
    )
    registry = discover(["mine.py"])
    with pytest.raises(Stopped, match="at step 0 of 6"):
        train(tiny, "run", "schedule.type=root", registry=registry, observers=["stopper"])
    assert train(tiny, "run", "schedule.type=root", registry=registry).step == 6


GROWN = """
import srkit
import torch
from torch import nn

class Grown(nn.Module):
    # Keeps the positions of the largest image so far, and has a convolution over more than images.
    def __init__(self, *, scale: int):
        super().__init__()
        self.body, self.deep, self.kept = nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.Conv3d(1, 1, 1), None
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x):
        if self.kept is None or self.kept.shape[-1] < x.shape[-1]:
            self.kept = torch.linspace(0, 0.1, x.shape[-1])
        return self.shuffle(self.body(self.deep(x[:, None])[:, 0] * self.kept[: x.shape[-1]]))

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("architecture", "grown", f"{__name__}:Grown")
"""


def test_a_network_that_keeps_what_it_made_of_a_validation_image_and_has_a_conv3d_trains_on(tiny):
    Path("grown.py").write_text(GROWN)
    registry = discover(["grown.py"])
    assert train(tiny, "run", "architecture.type=grown", registry=registry).step == 6


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_the_last_good_checkpoint(tiny):
    Path("bad.py").write_text(
        "import srkit\n"
        "class Bad:\n"
        "    def __init__(self): self.calls = 0\n"
        "    def __call__(self, sr, hr):\n"
        "        self.calls += 1\n"
        "        return (sr - hr).abs().mean() * (1.0 if self.calls < 5 else float('nan'))\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('loss', 'bad', f'{__name__}:Bad')\n"
    )
    with pytest.raises(RunFailed) as error:
        train(tiny, "run", "loss.type=bad", "train.steps=50", registry=discover(["bad.py"]))
    assert "the loss or its gradients were not finite for 10 updates in a row, up to step 14" in str(error.value)
    for path in Path("run/checkpoints").iterdir():
        assert all(t.isfinite().all() for t in model.read_weights(path / "weights.safetensors").values())


def test_an_observer_that_raises_is_dropped_with_one_warning(tiny, caplog):
    Path("nosy.py").write_text(
        "import srkit\n"
        "class Nosy:\n    def logged(self, step, values): raise ValueError(f'at {step}')\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('observer', 'nosy', f'{__name__}:Nosy')\n"
    )
    result = train(tiny, "run", 'observer=["nosy"]', registry=discover(["nosy.py"]))
    assert result.step == 6
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warnings == ["--set observer=[\"nosy\"]: observer 'nosy' raised ValueError: at 2 (nosy.py:3); it is dropped"]


@pytest.mark.parametrize(
    "override",
    [
        "architecture.type=edsr",
        "architecture.type=espcn",
        "architecture.type=srcnn",
        "loss.type=l2",
        "loss.type=charbonnier",
        "data.dataset.type=leaves",
        "data.degradation.type=pillow_bicubic",
        "metric.0.type=psnr",
        "optimizer.type=sgd",
        "schedule.type=cosine",
        "data.cache=none",
        "train.accumulate=2",
        "train.precision=bfloat16",
        "train.channels_last=false",
    ],
)
def test_swapping_a_component_is_one_override(tiny, override):
    text = TINY
    if override.startswith("architecture.type=edsr"):
        text = text.replace("steps = 6", "steps = 2")  # 1.4 million weights
    tiny.write_text(text)
    extra = ["data.dataset.count=3"] if "leaves" in override else []
    result = train(tiny, "run", override, *extra)
    assert result.step in (2, 6)


def test_a_score_that_is_infinite_outlives_a_checkpoint(tiny, capsys):
    Path("flat").mkdir()
    Image.new("RGB", (32, 32), (128, 128, 128)).save("flat/grey.png")
    settings = ['validate.dataset.path="flat"', 'metric=["psnr"]']
    first = train(tiny, "run", *settings)
    again = train(tiny, "run", *settings)
    assert first.tables[0]["rows"][1]["mean"] == {"psnr": math.inf}
    assert again.tables == first.tables
    print_tables(again.tables)
    assert "bicubic" in capsys.readouterr().out


def test_the_threads_of_torch_are_the_recipes_while_it_trains(tiny):
    import torch

    before = torch.get_num_threads()
    train(tiny, "run", "train.threads=3", "train.steps=1", "validate=[]")  # three on two cores wait for each other
    assert json.loads(Path("run/environment.json").read_text())["threads"] == 3
    assert torch.get_num_threads() == before


def test_a_run_starts_from_the_weights_that_it_names(tiny):
    train(tiny, "first")
    with_weights = 'start.weights="first/last.safetensors"'
    train(tiny, "second", with_weights, "optimizer.lr=1e-12", "train.steps=1")
    first, second = (model.read_weights(Path(p) / "last.safetensors") for p in ("first", "second"))
    assert all((first[name] - second[name]).abs().max() < 1e-6 for name in first)


def test_a_run_is_continued_without_the_weights_that_it_started_from(tiny):
    train(tiny, "first")
    with_weights = 'start.weights="first/last.safetensors"'
    train(tiny, "second", with_weights)
    Path("first/last.safetensors").unlink()
    assert train(tiny, "second", with_weights, "train.steps=8").step == 8


def test_a_network_without_weights_has_nothing_to_train(tiny):
    with pytest.raises(RecipeError) as error:
        train(tiny, "run", "architecture.type=bicubic")
    assert str(error.value) == "--set architecture.type=bicubic: architecture 'bicubic' has nothing to train"
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: [p.unlink() for p in Path("photos").iterdir()], "photos: "),
        (lambda: Path("photos/p1.png").write_text("<html>"), "photos/p1.png: "),
        (lambda: Image.new("RGBA", (64, 64)).save("photos/p1.png"), "photos/p1.png: "),
    ],
    ids=["empty", "html", "alpha"],
)
def test_bad_images_are_named_before_anything_is_written(tiny, spoil, message):
    spoil()
    with pytest.raises((InputRejected, RecipeError), match=message):
        train(tiny, "run")
    assert not Path("run").exists()


MINE = """
import srkit
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, *, scale: int, kind: str = "good"):
        super().__init__()
        self.kind, self.conv = kind, nn.Conv2d(3, 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x):
        if self.kind == "typo":
            return self.shufle(x)
        x = self.conv(x)
        if self.kind == "detached":
            return self.shuffle(x).detach()
        if self.kind == "auxiliary" and self.training:
            return self.shuffle(x), x
        return x if self.kind == "size" else (self.shuffle(x), x) if self.kind == "tuple" else self.shuffle(x)

def picture(): return lambda sr, hr: (sr - hr).abs()
def number(): return lambda sr, hr: (sr - hr).abs().mean().item()
def still(): return lambda sr, hr: (sr - hr).detach().abs().mean()
def narrow(): return lambda sr: sr.mean()

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("architecture", "mine", f"{__name__}:Net")
    yield srkit.Component("loss", "picture", f"{__name__}:picture")
    for name in ("narrow", "number", "still"):
        yield srkit.Component("loss", name, f"{__name__}:{name}")
"""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["architecture={type='mine', kind='size'}"],
            "architecture 'mine' returns [1, 12, 8, 8] for [1, 3, 8, 8]; at scale 2 it must return [1, 3, 16, 16]",
        ),
        (
            ["architecture={type='mine', kind='tuple'}"],
            "architecture 'mine' returns a tuple for [1, 3, 8, 8]; at scale 2 it must return [1, 3, 16, 16]",
        ),
        (
            ["architecture={type='mine', kind='auxiliary'}"],
            "architecture 'mine' returns a tuple for [2, 3, 8, 8] in training; "
            "at scale 2 it must return [2, 3, 16, 16]",
        ),
        (
            ["architecture={type='mine', kind='typo'}"],
            "architecture 'mine' fails: AttributeError: 'Net' object has no attribute 'shufle' (mine.py:14)",
        ),
        (
            ["architecture={type='mine', kind='detached'}"],
            "architecture 'mine' cannot learn: no gradient reaches its weights (is something detached?)",
        ),
        (
            ["loss=['number']"],
            "loss 'number' returns a float; it must return a tensor of one value",
        ),
        (
            ["loss=['still']"],
            "loss 'still' has no gradient with respect to SR (is something detached?)",
        ),
        (["loss=['picture']"], "loss 'picture' returns [2, 3, 16, 16]; it must return a tensor of one value"),
        (
            ["loss=['narrow']"],
            "loss 'narrow' fails: TypeError: narrow.<locals>.<lambda>() takes 1 positional argument but 2 were given",
        ),
    ],
)
def test_what_a_strangers_network_or_loss_gets_wrong_is_told_in_the_recipes_terms(tiny, settings, message):
    Path("mine.py").write_text(MINE)
    with pytest.raises(RecipeError) as error:
        train(tiny, "run", *settings, registry=discover(["mine.py"]))
    assert str(error.value) == f"--set {settings[0]}: {message}"
    assert not Path("run").exists()


def test_a_run_directory_is_a_start(tiny, caplog):
    caplog.set_level("INFO")
    train(tiny, "first")
    train(tiny, "second", "start.weights=first")
    assert "taken 22 tensors (1,321 values) of first/best.safetensors" in caplog.messages


def test_fresh_without_weights_is_a_problem(tiny):
    with pytest.raises(RecipeError) as error:
        train(tiny, "run", 'start.fresh=["x"]')
    assert str(error.value) == (
        '--set start.fresh=["x"]: '
        "'fresh' says what may be new beside start.weights or start.recipe, and neither is set"
    )


def test_a_start_takes_the_network_that_its_key_names(tiny, caplog):
    caplog.set_level("INFO")
    train(tiny, "first")
    weights = dict(model.read_weights(Path("first/best.safetensors")))
    torch.save({"netG": weights, "netD": {"w": torch.ones(3)}}, "both.pt")
    train(tiny, "second", "start.weights=both.pt", "start.key=netG", "train.steps=1")
    assert "taken 22 tensors (1,321 values) of both.pt" in caplog.messages
    with pytest.raises(RecipeError) as error:
        train(tiny, "third", "start.weights=both.pt", "start.key=netX")
    assert str(error.value) == "--set start.key=netX: both.pt has no network 'netX'; did you mean 'netG'?"


def test_a_key_without_weights_is_a_problem(tiny):
    with pytest.raises(RecipeError) as error:
        train(tiny, "run", "start.key=netG")
    assert str(error.value) == (
        "--set start.key=netG: 'key' says which network of start.weights is taken, and that is not set"
    )


def test_a_file_of_weights_that_is_not_there_is_a_problem_of_the_recipe(tiny):
    with pytest.raises(RecipeError) as error:
        train(tiny, "run", "start.weights=nowhere.pt")
    assert str(error.value) == "--set start.weights=nowhere.pt: there is no file nowhere.pt"


def test_a_model_of_a_one_file_plugin_says_which_file_it_needs(tiny):
    Path("mine.py").write_text(MINE)
    train(tiny, "run", "architecture={type='mine'}", registry=discover(["mine.py"]))
    with pytest.raises(ComponentError) as error:
        srkit.load("run")
    assert str(error.value) == (
        "run/best.safetensors: unknown architecture 'mine' "
        f"(installed: {installed_names('architecture')}); it was made with mine.py: add -p mine.py"
    )


def test_a_loss_that_never_was_finite_is_not_blamed_on_the_learning_rate(tiny):
    Path("never.py").write_text(
        "import srkit\n"
        "def never(): return lambda sr, hr: (sr - hr).mean() * float('nan')\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('loss', 'never', f'{__name__}:never')\n"
    )
    with pytest.raises(RunFailed) as error:
        train(tiny, "run", "loss.type=never", "train.steps=50", registry=discover(["never.py"]))
    assert str(error.value) == (
        "the loss or its gradients were not finite for 10 updates in a row, up to step 10; "
        "non-finite from the start: look at the network's output and at the losses"
    )


def test_a_patch_larger_than_every_image_is_a_problem_of_the_recipe(tiny):
    with pytest.raises(RecipeError) as error:
        train(tiny, "run", "data.patch=40")
    assert str(error.value) == (
        "--set data.patch=40: none of the 4 images is as large as a patch: 40 LR pixels at scale 2 need 80x80"
    )


def test_one_image_is_told_as_one(tiny, caplog):
    for path in sorted(Path("photos").iterdir())[1:]:
        path.unlink()
    with caplog.at_level("INFO"):
        srkit.run("tiny.toml", out="run", set=["train.steps=1"])
    assert [text for text in caplog.messages if text.startswith("1 image packed in ")]
