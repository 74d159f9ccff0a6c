"""What a plugin's component gives that is not what its kind gives: told by name, not by a traceback of ours."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import srkit
from srkit.engine.learning.trainer import Diverged
from srkit.errors import ComponentError, InputRejected, RunFailed
from srkit.plugin.discovery import discover

PLUGIN = """
import numpy as np
import srkit
import torch
from torch import nn


class Images:
    def __init__(self, *, wrong: str = ""):
        self.wrong = wrong

    def __len__(self):
        return 2

    def name(self, index):
        return f"image {index}"

    def size(self, index):
        return (40, 32) if self.wrong == "size" else (32, 40)

    def read(self, index, window=None):
        image = np.full((32, 40, 3), 7 * index, np.uint8)
        if window is not None:
            top, left, height, width = window
            image = image[top : top + height, left : left + width]
        forms = {"float": image / 255, "chw": image.transpose(2, 0, 1), "grey": image[..., 0], "list": image.tolist()}
        return forms.get(self.wrong, image)

    def lr(self, scale):
        return None

    def fingerprint(self):
        return "0"


class Halved:
    def __init__(self, *, scale: int, wrong: str = ""):
        self.wrong = wrong

    def __call__(self, hr):
        lr = hr[::2, ::2]
        return {"tensor": torch.zeros(3), "float": lr / 255.0, "size": hr}.get(self.wrong, lr)


class Noise:
    def __init__(self, *, scale: int):
        pass

    def __call__(self, hr, draws):
        return nn.functional.avg_pool2d(hr, 2) + draws[:, 3, None, None, None]


class Shift:
    def __call__(self, lr, hr, draws):
        raise KeyError("shift")


class Pair:
    def __call__(self, sr, hr):
        return 1.0, 2.0


class Grown:
    def __init__(self, *, weights: list[float] = [1.0, 2.0]):
        weights.append(3.0)

    def __call__(self, sr, hr):
        return (sr - hr).abs().mean()


class Learned(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, sr, hr):
        return (self.conv(sr) - self.conv(hr)).abs().mean()


class Full(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = -1  # the first time is the rehearsal's

    def forward(self, sr, hr):
        self.count += 1
        if self.count >= 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (sr - hr).abs().mean()


def nothing():
    return lambda sr, hr: (sr - hr).abs().mean() * float("nan")


@srkit.hookimpl
def srkit_components():
    def component(kind, target, **facts):
        return srkit.Component(kind, target.lower(), f"{__name__}:{target}", summary="of a test", facts=facts)

    yield component("dataset", "Images")
    yield component("degradation", "Halved", deterministic=True)
    yield component("degradation", "Noise", deterministic=False, draws=1)
    yield component("augmentation", "Shift", draws=1)
    yield component("metric", "Pair", better="higher")
    yield component("loss", "Grown")
    yield component("loss", "Learned")
    yield component("loss", "nothing")
    yield component("loss", "Full")
"""


@pytest.fixture
def run(tiny):
    Path("mine.py").write_text(PLUGIN)

    def train(*overrides, **options):
        return srkit.run(tiny, out="run", set=list(overrides), registry=discover(["mine.py"]), **options)

    return train


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ("float", "float64 [32, 40, 3], and an image here is uint8 or uint16 [32, 40, 3]"),
        ("chw", "uint8 [3, 32, 40], and an image here is uint8 or uint16 [32, 40, 3]"),
        ("grey", "uint8 [32, 40], and an image here is uint8 or uint16 [32, 40, 3]"),
        ("list", "list, and an image here is uint8 or uint16 [32, 40, 3]"),
        ("size", "uint8 [32, 40, 3], and an image here is uint8 or uint16 [40, 32, 3]"),
    ],
)
@pytest.mark.parametrize("cache", ["memory", "none"])
def test_a_dataset_that_gives_no_image_is_told_with_the_image(run, wrong, found, cache):
    with pytest.raises(InputRejected) as error:
        run(f"data.dataset={{type='images', wrong='{wrong}'}}", f"data.cache={cache}")
    first, *others = str(error.value).splitlines()
    assert first == f"image 0: the dataset gives {found}" or cache == "none"
    if cache == "memory":
        assert others[-1].startswith("2 of 2 images cannot be used: ")
    assert ": the dataset gives " in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [("tensor", "Tensor"), ("float", "float64 [20, 20, 3]"), ("size", "uint8 [40, 40, 3]")],
)
def test_a_degradation_that_gives_no_lr_is_told_with_the_image(run, wrong, found):
    with pytest.raises(InputRejected) as error:
        run(f"data.degradation={{type='halved', wrong='{wrong}'}}")
    must = "an image here is uint8 or uint16 [20, 20, 3]"
    assert str(error.value) == f"p2: the degradation gives {found}, and {must}"  # the smallest is looked at first


def test_a_random_degradation_and_an_augmentation_that_raise_are_named(run):
    with pytest.raises(RunFailed) as error:
        run("data.degradation.type=noise")
    assert str(error.value).startswith("data.degradation fails: IndexError: index 3 is out of bounds for dimension 1")
    with pytest.raises(RunFailed) as error:
        run('data.augment=["shift"]', restart=True)
    assert str(error.value).startswith("data.augment.0.shift fails: KeyError: 'shift' (mine.py:")


def test_a_metric_that_gives_no_number_is_told_before_anything_is_trained(run):
    with pytest.raises(ComponentError) as error:
        run('metric=["psnr_y", "pair"]')
    text = "metric 'pair' gives no number: TypeError: float() argument must be a string or a real number, not 'tuple'"
    assert str(error.value).startswith(text)
    assert not Path("run").exists()


def test_a_target_that_changes_its_default_changes_no_recipe(run):
    run('loss=["grown"]', "train.steps=1")
    assert tomllib.loads(Path("run/recipe.toml").read_text())["loss"][0]["weights"] == [1.0, 2.0]


def test_a_loss_whose_own_parameters_are_trained_is_told(run, caplog):
    caplog.set_level("INFO")
    run('loss=["l1", "learned"]', "train.steps=1")
    assert (
        "loss 'learned': its own 224 parameters are trained with the network's optimizer to lower the loss; "
        "an adversary needs the opposite"
    ) in caplog.messages


def test_too_little_memory_says_what_takes_less(run):
    with pytest.raises(RunFailed) as error:
        run('loss=["full"]')
    assert str(error.value) == (
        "the device has too little memory at step 1: "
        "try a smaller data.batch or data.patch, train.accumulate, or train.precision"
    )


def test_of_several_losses_the_one_that_is_not_finite_is_named(run):
    with pytest.raises(Diverged) as error:
        run('loss=["l1", "nothing"]', "train.steps=20")
    assert str(error.value).startswith("the loss or its gradients were not finite (nothing) for 10 updates in a row")


def test_an_image_to_score_on_that_cannot_be_read_is_named_before_anything_is_trained(run, photographs):
    path = photographs / "p2.png"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputRejected, match=r"p2\.png: "):
        run("data.dataset={type='images'}")
    assert not Path("run/checkpoints").exists()


def test_a_run_that_an_image_ended_goes_on_when_that_is_mended(run, photographs):
    path = photographs / "p2.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    settings = ("data.cache=none", "data.batch=1", "validate=[]", "train.steps=40", "train.checkpoint_every=40")
    with pytest.raises(InputRejected, match=r"p2\.png: "):
        run(*settings)
    path.write_bytes(whole)
    with pytest.raises(srkit.UsageError) as error:
        run(*settings)
    assert str(error.value).splitlines()[1:] == [
        "  data.dataset: its images have changed: 1 edited (p2)",
        "use --restart to rename it and start again, or --out DIR for another place",
        "to go on with them, which the run's environment.json will tell: --accept-dataset-change",
    ]
    assert run(*settings, accept_dataset_change=True).step == 40
