"""Discriminators against their authors' networks, and the adversarial loss against its formulas."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

import srkit
from srkit.cli import main
from srkit.plugin.discovery import installed
from tests.conftest import photograph

torch.set_num_threads(1)


def make(kind: str, name: str, **settings: Any) -> Any:
    return installed().create(kind, name, **settings)


def batch(seed: int, count: int, side: int) -> torch.Tensor:
    images = [torch.from_numpy(photograph(seed + i, side, side)).permute(2, 0, 1) for i in range(count)]
    return torch.stack(images).float() / 255


# --- Discriminators: their authors' sizes and names, so that their files fit ---


@pytest.mark.parametrize(
    ("name", "settings", "parameters"),
    [
        ("vgg_like", {}, 14_499_401),  # BasicSR's VGGStyleDiscriminator, input_size 128
        ("vgg_like", {"size": 256}, 21_055_049),
        ("unet", {}, 4_376_897),  # BasicSR's UNetDiscriminatorSN
        ("patch", {}, 2_765_633),  # pix2pix's NLayerDiscriminator, of images alone
    ],
)
def test_discriminators_are_as_large_as_their_authors(name, settings, parameters):
    network = make("discriminator", name, **settings)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def leaky(x):
    return torch.where(x > 0, x, 0.2 * x)


def batch_normed(x, state, name):
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    x = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    return x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def test_vgg_like_is_the_ladder_of_basicsr():
    network = make("discriminator", "vgg_like", size=32, features=4)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    images = batch(0, 3, 32)
    x = leaky(F.conv2d(images, state["conv0_0.weight"], state["conv0_0.bias"], padding=1))
    for level in range(3):
        if level:
            x = F.conv2d(x, state[f"conv{level}_0.weight"], padding=1)
            x = leaky(batch_normed(x, state, f"bn{level}_0"))
        x = F.conv2d(x, state[f"conv{level}_1.weight"], stride=2, padding=1)
        x = leaky(batch_normed(x, state, f"bn{level}_1"))
    assert x.shape == (3, 16, 4, 4)
    x = leaky(x.flatten(1) @ state["linear1.weight"].T + state["linear1.bias"])
    expected = x @ state["linear2.weight"].T + state["linear2.bias"]
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)


def test_unet_is_that_of_real_esrgan():
    network = make("discriminator", "unet", features=4)
    images = batch(0, 2, 24)
    network(images)  # one step of the power iteration, whose vectors the state then holds
    state = network.eval().state_dict()

    def convolution(x, number, stride=1):
        matrix = state[f"conv{number}.weight_orig"]
        sigma = state[f"conv{number}.weight_u"] @ matrix.flatten(1) @ state[f"conv{number}.weight_v"]
        return leaky(F.conv2d(x, matrix / sigma, stride=stride, padding=1))

    x0 = leaky(F.conv2d(images, state["conv0.weight"], state["conv0.bias"], padding=1))
    x1 = convolution(x0, 1, 2)
    x2 = convolution(x1, 2, 2)
    x3 = convolution(x2, 3, 2)
    x = x3
    for number, beside in ((4, x2), (5, x1), (6, x0)):
        x = convolution(F.interpolate(x, scale_factor=2, mode="bilinear"), number) + beside
    x = convolution(convolution(x, 7), 8)
    expected = F.conv2d(x, state["conv9.weight"], state["conv9.bias"], padding=1)
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("layers", "seen"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_of_patch_sees_as_many_pixels_as_it_says(layers, seen):
    network = make("discriminator", "patch", features=4, layers=layers).eval()
    images = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0), requires_grad=True)
    logits = network(images)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], images)
    rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 == seen


@pytest.mark.parametrize(("name", "side"), [("unet", 8), ("unet", 13), ("patch", 24), ("patch", 67)])
def test_unet_and_patch_take_images_of_any_size(name, side):
    logits = make("discriminator", name, features=2)(torch.rand(2, 3, side, side + 1))
    assert len(logits) == 2
    if name == "unet":
        assert logits.shape == (2, 1, side, side + 1)


def test_vgg_like_takes_images_of_its_size_alone():
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("discriminator", "vgg_like", features=2)(torch.rand(2, 3, 96, 128))
    assert str(error.value) == (
        "discriminator 'vgg_like' with size = 128 wants images of 128x128 pixels, not 128x96: change its size, or "
        "data.patch"
    )


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("vgg_like", {"size": 96}, "size must be a power of 2 from 8 on, not 96"),
        ("vgg_like", {"size": 4}, "size must be a power of 2 from 8 on, not 4"),
        ("vgg_like", {"features": 0}, "features must be at least 1, not 0"),
        ("unet", {"features": 0}, "features must be at least 1, not 0"),
        ("patch", {"layers": 0}, "layers must be at least 1, not 0"),
    ],
)
def test_settings_that_make_no_discriminator_are_refused(name, settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("discriminator", name, **settings)
    assert str(error.value) == message


# --- The loss ---


class Plane(nn.Module):
    """Logits that are linear in the pixels: all can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, -1.0, 2.0]))

    def forward(self, images):
        return (images * self.weight[:, None, None]).sum((1, 2, 3)) - 1.5


def adversarial(**settings: Any) -> Any:
    return make("loss", "adversarial", discriminator=Plane(), **settings)


# With pixels 0 but one, of value 1, in the colours that are named, the logits are -1.5 and the sum of these weights.
def dots(*colors: int) -> torch.Tensor:
    images = torch.zeros(len(colors), 3, 2, 2)
    for image, color in zip(images, colors, strict=True):
        image[color, 0, 1] = 1
    return images


SR, HR = dots(0, 2), dots(1, 2)  # logits -1, 0.5 and -2.5, 0.5


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def log_sigmoid(x):
    return math.log(sigmoid(x))


def expected(form: str) -> tuple[float, float]:
    """The network's loss and the discriminator's, by the papers' formulas."""
    fake, real = (-1.0, 0.5), (-2.5, 0.5)
    if form == "vanilla":
        network = -sum(map(log_sigmoid, fake)) / 2
        other = -sum(map(log_sigmoid, real)) / 2 - sum(math.log(1 - sigmoid(x)) for x in fake) / 2
    elif form == "lsgan":
        network = (4 + 0.25) / 2
        other = (12.25 + 0.25) / 2 + (1 + 0.25) / 2
    elif form == "hinge":
        network = 0.25
        other = (3.5 + 0.5) / 2 + (0 + 1.5) / 2
    else:  # ESRGAN, equations 1 and 2: D_Ra(a, b) = sigmoid(C(a) - mean C(b))
        of_real = [sigmoid(x - sum(fake) / 2) for x in real]
        of_fake = [sigmoid(x - sum(real) / 2) for x in fake]
        network = -sum(math.log(1 - p) for p in of_real) / 2 - sum(math.log(p) for p in of_fake) / 2
        other = -sum(math.log(p) for p in of_real) / 2 - sum(math.log(1 - p) for p in of_fake) / 2
        network, other = network / 2, other / 2  # as ESRGAN's code has them
    return network, other


@pytest.mark.parametrize("form", ["vanilla", "lsgan", "hinge", "relativistic"])
def test_the_forms_are_those_of_their_papers(form):
    loss = adversarial(form=form)
    network, other = expected(form)
    assert loss(SR, HR).item() == pytest.approx(network, rel=1e-6)
    assert loss.adversary_loss(SR, HR, step=0).item() == pytest.approx(other, rel=1e-6)


@pytest.mark.parametrize(("step", "times"), [(0, 4), (1, 0), (3, 0), (4, 4), (8, 4)])
def test_r1_is_half_the_squared_gradient_now_and_then_and_counts_as_often(step, times):
    with_r1, without = adversarial(r1=10.0, r1_every=4), adversarial()
    # The gradient of each of the four pixels is (0.5, -1, 2).
    penalty = 10 / 2 * 4 * (0.25 + 1 + 4)
    difference = with_r1.adversary_loss(SR, HR, step=step) - without.adversary_loss(SR, HR, step=step)
    assert difference.item() == pytest.approx(times * penalty, rel=1e-6)


def test_the_gradient_of_r1_reaches_the_discriminator():
    with_r1, without = adversarial(r1=10.0, r1_every=1), adversarial()
    gradients = []
    for loss in (with_r1, without):
        loss.adversary_loss(SR, HR, step=0).backward()
        gradients.append(loss.adversary.weight.grad)
    torch.testing.assert_close(gradients[0] - gradients[1], 10 * 4 * torch.tensor([0.5, -1.0, 2.0]))


def test_r1_is_computed_in_float32_where_the_discriminator_is_not():
    torch.manual_seed(0)
    loss = make("loss", "adversarial", discriminator={"type": "patch", "features": 4, "layers": 1}, r1=1.0, r1_every=1)
    seen = []
    loss.adversary.register_forward_hook(lambda module, images, logits: seen.append(logits.dtype))
    images = batch(0, 2, 32)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss.adversary_loss(images, images, step=0)
    assert seen == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert value.dtype == torch.float32
    assert loss.autocast is True


def test_a_discriminator_learns_to_tell_noise_from_photographs():
    torch.manual_seed(0)
    loss = make("loss", "adversarial", discriminator={"type": "patch", "features": 8, "layers": 2}, form="hinge")
    optimizer = torch.optim.Adam(loss.adversary.parameters(), lr=2e-3)
    hr = batch(0, 4, 32)
    sr = (hr + 0.1 * torch.randn(hr.shape)).clamp(0, 1)
    before = loss(sr, hr).item()
    for step in range(20):
        optimizer.zero_grad()
        loss.adversary_loss(sr, hr, step=step).backward()
        optimizer.step()
    assert loss.adversary_loss(sr, hr, step=20).item() < 1.0  # 2 where it tells nothing
    assert loss(sr, hr).item() > before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r1": -1.0}, "r1 must be 0 at least, not -1"),
        ({"r1": math.nan}, "r1 must be 0 at least, not nan"),
        ({"r1_every": 0}, "r1_every must be at least 1, not 0"),
    ],
)
def test_settings_of_r1_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        adversarial(**settings)
    assert str(error.value) == message


def test_a_discriminator_of_another_kind_is_refused():
    with pytest.raises(srkit.ComponentError) as error:
        make("loss", "adversarial", discriminator={"type": "a2n"})
    known = "(installed: patch, unet, vgg_like)"
    assert str(error.value) == f"unknown discriminator 'a2n'; 'a2n' is of kind architecture {known}"


# --- In a run ---

LOSSES = """
[[loss]]
type = "l1"

[[loss]]
type = "perceptual"
weight = 0.01
layers = { stage2 = 1.0 }

[[loss]]
type = "adversarial"
weight = 0.1
r1 = 1.0
r1_every = 2
"""


def last_checkpoint(out: str) -> dict[str, bytes]:
    folder = Path(out, "checkpoints", "step_00000006")
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


@pytest.mark.parametrize("discriminator", ['{type="unet", features=2}', '{type="patch", layers=1}'])
def test_a_gan_that_is_continued_ends_with_the_same_bits(tiny, discriminator):
    tiny.write_text(tiny.read_text() + LOSSES)
    settings = [f"loss.2.discriminator={discriminator}", "train.deterministic=run", "train.threads=1"]
    srkit.run(tiny, out="straight", set=settings)
    for steps in (3, 6):
        srkit.run(tiny, out="stopped", set=[*settings, f"train.steps={steps}"])
    straight = last_checkpoint("straight")
    assert last_checkpoint("stopped") == straight
    kept = safetensors.torch.load(straight["losses.safetensors"])
    assert kept
    assert all(name.startswith("2.adversary.") for name in kept)  # nothing of the perceptual loss, which is frozen
    assert not any("adversary" in name for name in safetensors.torch.load_file("straight/last.safetensors"))


def test_the_gan_quickstart_needs_no_data_and_is_scored_beside_what_it_started_from(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    short = ["train.steps=2", "train.validate_every=2", "data.batch=2", "validate.0.dataset.size=64"]
    assert main(["run", "gan_quickstart", *(word for text in short for word in ("--set", text))]) == 0
    capsys.readouterr()
    assert main(["compare", "runs/gan_quickstart_pixel", "runs/gan_quickstart"]) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    scored = {"gan_quickstart_pixel", "gan_quickstart", "bicubic"}
    head = next(words for words in table if words[:2] == ["leaves", "x2"] and "step" in words)
    assert {"features", "psnr_y"} < set(head)
    assert scored <= {word for words in table for word in words}
