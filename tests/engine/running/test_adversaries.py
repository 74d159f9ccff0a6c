"""Runs with an adversary: from a recipe, killed and continued, started from weights, and what is wrong with one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import safetensors.torch
import torch

import srkit
from srkit.engine.builder import Builder
from srkit.errors import InputRejected, RecipeError
from srkit.plugin.discovery import discover
from tests.conftest import HANGS
from tests.engine.running.test_run import assert_same, contents

PLUGIN = '''
import torch
import torch.nn.functional as F
from torch import nn
import srkit


class Judge(nn.Module):
    """A discriminator.

    Args:
        features: channels.
    """

    def __init__(self, features: int = 4):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, features, 3), nn.BatchNorm2d(features), nn.ReLU(),
                                    nn.Dropout(0.1), nn.Conv2d(features, 1, 3))

    def forward(self, images):
        return self.layers(images)


class Gan(nn.Module):
    """The vanilla GAN.

    Args:
        judge: the discriminator.
        wrong: what is wrong with it.
    """

    autocast = True

    def __init__(self, judge: srkit.Discriminator, *, wrong: str = ""):
        super().__init__()
        if wrong == "frozen":
            judge.requires_grad_(False)
        self.adversary = [judge] if wrong == "list" else judge
        self.wrong = wrong
        if wrong == "one":
            self.adversary_loss = None

    def forward(self, sr, hr):
        return F.softplus(-self.adversary(sr)).mean()

    def adversary_loss(self, sr, hr):
        if self.wrong == "raises":
            raise IndexError("of mine")
        if self.wrong == "clips":
            with torch.no_grad():
                for weight in self.adversary.parameters():
                    weight.clamp_(-0.01, 0.01)
        loss = F.softplus(-self.adversary(hr)).mean() + F.softplus(self.adversary(sr)).mean()
        return {"detached": loss.detach(), "many": loss.expand(2), "none": None}.get(self.wrong, loss)


class Outer(nn.Module):
    """A loss around another.

    Args:
        inner: the loss.
    """

    def __init__(self, inner: srkit.Loss):
        super().__init__()
        self.inner = inner

    def forward(self, sr, hr):
        return self.inner(sr, hr)


def average(sr, hr, *, ema):
    return (sr - ema).abs().mean()


def deep(sr, hr, *, extras):
    return sum((value - sr.mean()).abs().mean() for value in extras.values())


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("discriminator", "judge", f"{__name__}:Judge", summary="of a test")
    yield srkit.Component("loss", "gan", f"{__name__}:Gan", summary="of a test")
    yield srkit.Component("loss", "outer", f"{__name__}:Outer", summary="of a test")
    yield srkit.Component("loss", "average", f"{__name__}:made_average", summary="of a test")
    yield srkit.Component("loss", "deep", f"{__name__}:made_deep", summary="of a test")


def made_average():
    return average


def made_deep():
    return deep
'''

LOSSES = """
[[loss]]
type = "l1"

[[loss]]
type = "gan"
weight = { type = "cosine", value = 0.1 }
from_step = 3
judge = { type = "judge", features = 6 }

[loss.adversary]
optimizer = { type = "adam", lr = 1e-3 }
every = 2
"""


@pytest.fixture
def gan(tiny):
    """The tiny recipe with an adversarial loss, in a folder with its plugin."""
    Path("mine.py").write_text(PLUGIN)
    text = tiny.read_text()
    tiny.write_text(text.replace('loss = "l1"\n', "").replace('[[loss]]\ntype = "l1"\n', "") + LOSSES)
    return tiny


def train(recipe, out, *overrides, plugin="mine.py"):
    return srkit.run(recipe, out=out, set=list(overrides), registry=discover([plugin]))


EXACT = ("train.deterministic=run", "train.threads=1")


def test_the_adversary_is_trained_beside_the_network_and_stands_in_checkpoints_alone(gan, caplog):
    with caplog.at_level("INFO"):
        train(gan, "run")
    assert "loss 'gan': its adversary has" in caplog.text
    checkpoint = max(Path("run/checkpoints").iterdir())
    kept = safetensors.torch.load_file(checkpoint / "losses.safetensors")
    assert "1.adversary.layers.0.weight" in kept
    assert (checkpoint / "optimizer_1.safetensors").is_file()
    model = safetensors.torch.load_file("run/best.safetensors")
    assert not any("adversary" in name or "layers.4" in name for name in model)
    lines = Path("run/metrics.jsonl").read_text()
    assert '"gan.adversary"' in lines


KILLED = """
import os, signal, sys
import srkit
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Origin

class Killer:
    def logged(self, step, values):
        if step == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)

registry = discover(["mine.py"])
registry.add(srkit.Component("observer", "killer", "__main__:Killer"), Origin("killer"))
srkit.run("tiny.toml", out="killed", set=sys.argv[2:], registry=registry, observers=["killer"])
"""


@pytest.mark.parametrize("options", [[], ["train.accumulate=2", "train.ema=0.9", "train.clip=0.1"]])
def test_a_run_that_is_killed_and_continued_ends_with_the_same_bits(gan, options):
    settings = [*EXACT, "train.log_every=1", "train.checkpoint_every=5", "train.steps=16", *options]
    train(gan, "straight", *settings)
    done = subprocess.run([sys.executable, "-c", KILLED, "8", *settings], capture_output=True, timeout=HANGS)
    assert done.returncode == -signal.SIGKILL, done.stderr
    train(gan, "killed", *settings)
    assert_same(contents(Path("straight")), contents(Path("killed")))


def test_an_adversary_starts_from_a_file_or_from_another_run(gan):
    train(gan, "first")
    newest = max(Path("first/checkpoints").iterdir())
    tensors = safetensors.torch.load_file(newest / "losses.safetensors")
    own = {name.removeprefix("1.adversary."): value for name, value in tensors.items()}
    torch.save({"params": own}, "net_d.pth")
    never = ["train.steps=1", "loss.1.adversary.from_step=1"]
    for source in ("first", "net_d.pth"):
        train(gan, f"from_{Path(source).stem}", f"start.adversaries.gan={source}", *never)
        path = Path(f"from_{Path(source).stem}/checkpoints/step_00000001/losses.safetensors")
        started = safetensors.torch.load_file(path)
        weights = [name for name in started if name.endswith("weight")]
        assert all(torch.equal(started[name], tensors[name]) for name in weights)
    with pytest.raises(InputRejected, match=r"net_d\.pth: .*the adversary of 'gan'"):
        train(gan, "other", "start.adversaries.gan=net_d.pth", "loss.1.judge.features=7", *never)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss.1.wrong=frozen"], "loss 'gan': its adversary has nothing to train"),
        (
            ["loss.1.wrong=detached"],
            "loss 'gan': its adversary cannot learn: no gradient of adversary_loss reaches its weights "
            "(is something detached?)",
        ),
        (
            ["loss.1.wrong=many"],
            "loss 'gan': adversary_loss returns [2]; it must return a tensor of one value",
        ),
        (
            ["loss.1.wrong=none"],
            "loss 'gan': adversary_loss returns None; it must return a tensor of one value",
        ),
        (
            ["loss.1.wrong=one"],
            "loss 'gan' has one of `adversary`, an nn.Module, and `adversary_loss(sr, hr)`, and needs both",
        ),
        (
            ["loss.1.type=outer", 'loss.1.inner={ type = "gan", judge = "judge" }'],
            "loss 'outer' has an adversarial loss within, whose adversary nothing would train against it",
        ),
        (
            ["loss.0.type=average"],
            "loss 'average' needs SR of the moving average of the weights: set train.ema, to 0.999, say",
        ),
        (["loss.0.type=deep"], "loss 'deep' needs what a network returns beside SR, and 'a2n' returns nothing"),
        (["loss.0.adversary.every=2"], "loss 'l1' has no adversary"),
        (["start.adversaries.gann=x.pth"], "no loss 'gann' has an adversary; did you mean 'gan'?"),
        (["start.adversaries.gan=x.pth"], "there is no file x.pth"),
        (["loss.1.every=0"], "'every' must be at least 1, not 0"),
        (["loss.1.from_step=-1"], "'from_step' must be at least 0, not -1"),
        (["loss.1.weight.value=-1"], "'value' must be at least 0, not -1.0"),
    ],
)
def test_what_is_wrong_with_an_adversarial_loss_is_said_before_training(gan, overrides, message):
    with pytest.raises(RecipeError) as error:
        train(gan, "run", *overrides)
    (line,) = str(error.value).splitlines()
    assert line.endswith(message)
    assert "tiny.toml:" in line or line.startswith("--set")
    assert not Path("run").exists()


def test_a_loss_that_asks_for_the_average_is_rehearsed_and_trained_with_it(gan):
    train(gan, "run", "loss.0.type=average", "train.ema=0.9", "train.steps=2")
    assert Path("run/last.safetensors").is_file()


def test_a_loss_that_never_counts_is_warned_of(gan, caplog):
    train(gan, "run", "loss.1.from_step=400", "train.steps=2")
    assert "loss 'gan' never counts: from_step is 400, train.steps 2" in caplog.messages


def test_an_error_of_an_adversary_names_its_loss_and_its_own_line(gan):
    with pytest.raises(RecipeError, match=r"loss 'gan' fails: IndexError: of mine \(mine\.py:\d+\)"):
        train(gan, "run", "loss.1.wrong=raises")


def test_a_discriminator_of_another_size_is_told_in_its_own_words(gan):
    """A ValueError that a component raises is for who writes the recipe, whom a place in Python says nothing."""
    judge = '{type="vgg_like", features=2}'
    with pytest.raises(RecipeError) as error:
        train(gan, "run", f'loss=["l1", {{type="adversarial", discriminator={judge}}}]')
    assert str(error.value) == (
        f'--set loss=["l1", {{type="adversarial", discriminator={judge}}}]: loss \'adversarial\': discriminator '
        "'vgg_like' with size = 128 wants images of 128x128 pixels, not 16x16: change its size, or data.patch"
    )


def test_patterns_of_the_networks_names_are_none_of_the_adversarys(gan):
    patterns = 'optimizer={type="adamw", no_decay=["HRconv1.bias"]}'
    with pytest.raises(RecipeError) as error:
        train(gan, "run", patterns, "loss.1.adversary.optimizer=")
    assert str(error.value) == (
        '--set optimizer={type="adamw", no_decay=["HRconv1.bias"]}: an update of architecture \'a2n\' by optimizer '
        "'adamw' fails: the adversary of loss 'gan': optimizer 'adamw': no_decay: no parameter is named "
        "'HRconv1.bias'; there are layers.0.weight, layers.0.bias, layers.1.weight, ...; it takes the recipe's "
        "optimizer, and may have another: adversary.optimizer"
    )
    train(gan, "run", patterns, "train.steps=2")  # with an optimizer of its own


def test_the_average_of_an_optimizer_is_one_for_losses_too(gan):
    pytest.importorskip("schedulefree")
    train(gan, "run", "loss.0.type=average", "optimizer.type=schedule_free", "train.steps=2")
    assert Path("run/last.safetensors").is_file()


def test_an_adversary_whose_loss_clips_its_weights_is_trained(gan):
    """As the first WGAN does: what the network's gradients need of the weights, they have had by then."""
    train(gan, "run", "loss.1.wrong=clips", "loss.1.from_step=0", "loss.1.adversary.every=1", "train.steps=2")
    assert Path("run/last.safetensors").is_file()


def test_the_weight_of_a_loss_follows_its_schedule(gan):
    from srkit.engine.learning.objective import make_terms

    loaded = Builder(discover(["mine.py"])).load(gan)
    term = make_terms(loaded.builder, attrs.evolve(loaded.recipe, train=attrs.evolve(loaded.recipe.train, steps=100)))[
        1
    ]
    assert [round(term.weight_at(step), 4) for step in (0, 50, 100)] == [0.1, 0.05, 0.0]
    assert term.from_step == 3


def test_a_resolved_recipe_leaves_out_what_earlier_releases_do_not_know(tiny):
    loaded = Builder(discover()).load(tiny)
    assert set(loaded.recipe.to_tree()["loss"][0]) == {"type", "weight", "reduction"}
    assert "adversaries" not in loaded.recipe.to_tree()["start"]


TEACHER = '''
import srkit
import torch
from torch import nn


class Taught(nn.Module):
    """L1 to what a teacher makes of LR.

    Args:
        teacher: the network.
    """

    def __init__(self, teacher: srkit.Architecture):
        super().__init__()
        self.teacher = teacher.requires_grad_(False)

    def forward(self, sr, hr, *, lr):
        return (sr - self.teacher(lr)).abs().mean()


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("loss", "taught", f"{__name__}:Taught", summary="of a test")
'''


def test_a_network_within_a_loss_has_the_recipes_scale(tiny):
    Path("taught.py").write_text(TEACHER)
    train(tiny, "run", "loss.type=taught", "loss.teacher=espcn", "train.steps=2", plugin="taught.py")
    assert Path("run/last.safetensors").is_file()
