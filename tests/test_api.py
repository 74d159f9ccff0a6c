import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
import srkit.testing
from srkit.engine.weights.model import save_model
from tests.conftest import photograph

SETTINGS = {"features": 4, "blocks": 1, "upsampling_features": 4}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return srkit.create("architecture", "a2n", scale=2, **SETTINGS)


def test_the_public_names_are_these():
    assert srkit.__all__ == [
        "Architecture",
        "Augmentation",
        "Component",
        "ComponentError",
        "Dataset",
        "Detected",
        "DeterministicDegradation",
        "Discriminator",
        "Distortion",
        "Draws",
        "Exported",
        "Exporter",
        "ImageRecord",
        "InputRejected",
        "Loss",
        "Manifest",
        "Metric",
        "OptimizerFactory",
        "Picture",
        "RandomDegradation",
        "RecipeError",
        "Run",
        "RunFailed",
        "Schedule",
        "SrkitError",
        "Stage",
        "Stopped",
        "UsageError",
        "Window",
        "bench",
        "check_weights",
        "components",
        "create",
        "decode_image",
        "encode_image",
        "evaluate",
        "hookimpl",
        "image_size",
        "list_folder",
        "list_images",
        "load",
        "load_recipe",
        "read_image",
        "read_matrices",
        "report",
        "run",
        "save_image",
        "sweep",
        "upscale",
    ]
    for name in srkit.__all__:
        assert getattr(srkit, name).__doc__ or name == "hookimpl"
    assert dir(srkit) == sorted([*srkit.__all__, "__version__"])


def test_the_public_names_of_testing_are_these():
    assert srkit.testing.__all__ == ["Case", "parametrize_components"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError) as error:
        srkit.upscael  # noqa: B018
    assert str(error.value) == "module 'srkit' has no attribute 'upscael'"


def test_the_names_of_plugins_and_errors_come_without_torch():
    names = ["Component", "hookimpl", "components", "create", "InputRejected", "Window", "Run", "load", "run"]
    program = (
        f"import sys, srkit\n[getattr(srkit, n) for n in {names}]\nsrkit.components()\nprint('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_components_are_listed_all_or_by_kind():
    assert {component.name for component in srkit.components("loss")} >= {"l1", "l2", "charbonnier"}
    assert {component.kind for component in srkit.components()} >= {"architecture", "loss", "metric"}


def test_components_of_an_unknown_kind_name_the_nearest():
    with pytest.raises(srkit.ComponentError) as error:
        srkit.components("los")
    assert str(error.value) == "unknown kind 'los'; did you mean 'loss'?"


def test_create_makes_a_component_with_its_settings(network):
    assert network(torch.zeros(1, 3, 5, 7)).shape == (1, 3, 10, 14)
    with pytest.raises(srkit.ComponentError) as error:
        srkit.create("architecture", "a2n", scale=2, bloks=1)
    assert str(error.value) == "architecture 'a2n' has no setting 'bloks'; did you mean 'blocks'?"
    with pytest.raises(ValueError, match="a2n has scales 2, 3 and 4, not 5"):
        srkit.create("architecture", "a2n", scale=5)


def test_a_recipe_is_read_and_checked_without_its_images(tiny, photographs):
    for path in photographs.iterdir():
        path.unlink()
    recipe = srkit.load_recipe("tiny.toml", set=["train.steps=9"])
    assert (recipe.title, recipe.train.steps, recipe.architecture.settings["blocks"]) == ("Tiny", 9, 1)
    with pytest.raises(srkit.RecipeError) as error:
        srkit.load_recipe("tiny.toml", set=["train.stepps=9"])
    assert error.value.problems == ("--set train.stepps=9: unknown key 'stepps'; did you mean 'steps'?",)
    with pytest.raises(srkit.UsageError):
        srkit.load_recipe("nowhere.toml")


def test_a_saved_network_is_loaded_in_eval_mode_and_gives_the_same_image(network, tmp_path):
    path = tmp_path / "net.safetensors"
    save_model(path, network.state_dict(), {"architecture": "a2n", "settings": SETTINGS, "scale": 2})
    loaded = srkit.load(path)
    assert not loaded.training
    image = photograph(0, 20, 24)
    assert np.array_equal(srkit.upscale(image, loaded), srkit.upscale(image, network))
    with pytest.raises(srkit.InputRejected) as error:
        srkit.load(tmp_path / "gone.safetensors")
    assert str(error.value) == f"{tmp_path / 'gone.safetensors'}: there is no such file or run directory"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_image_is_enlarged_and_keeps_its_dtype(dtype):
    bicubic = srkit.create("architecture", "bicubic", scale=3)
    image = np.full((5, 6, 3), np.iinfo(dtype).max // 3, dtype)
    found = srkit.upscale(image, bicubic)
    assert (found.shape, found.dtype) == ((15, 18, 3), dtype)
    assert (found == image[0, 0, 0]).all()


def test_enlarging_leaves_a_network_in_its_mode(network):
    network.train()
    srkit.upscale(photograph(0, 12, 12), network)
    assert network.training


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)])
def test_what_is_no_image_is_refused(network, wrong):
    with pytest.raises(ValueError, match=r"an image is \[height, width, 3\], uint8 or uint16, not "):
        srkit.upscale(wrong, network)


def test_networks_are_scored_on_folders_beside_bicubic(network, photographs):
    tables = srkit.evaluate({"mine": network}, {"photos": photographs}, scale=2, metrics=["psnr"])
    assert [(table["data"], [row["model"] for row in table["rows"]]) for table in tables] == [
        ("photos", ["mine", "bicubic"])
    ]
    assert list(tables[0]["rows"][0]["mean"]) == ["psnr"]
    assert srkit.evaluate({}, photographs, scale=2)[0]["data"] == "photos"


def test_bicubic_is_measured_as_the_networks_are(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    networks = {"mine": srkit.create("architecture", "bicubic", scale=2)}
    plain, tiled = (
        srkit.evaluate(networks, tmp_path, forward=forward, ensemble=ensemble)[0]["rows"]
        for forward, ensemble in (("whole", "none"), ("tiles", "x8"))
    )
    for mine, bicubic in (plain, tiled):
        assert mine["images"] == bicubic["images"]
    assert tiled[1]["images"] != plain[1]["images"]  # the mean of eight rounds a few pixels otherwise


def test_evaluating_on_nothing_is_an_error(network):
    with pytest.raises(srkit.UsageError) as error:
        srkit.evaluate({"mine": network}, {}, scale=2)
    assert str(error.value) == "there is nothing to evaluate on"


def test_a_recipe_is_trained_and_its_result_can_be_used(tiny):
    result = srkit.run("tiny.toml", out="here", set=["train.steps=2", "train.validate_every=2"])
    assert (str(result.directory), result.step, result.was_finished) == ("here", 2, False)
    assert [row["model"] for row in result.tables[0]["rows"]][-1] == "bicubic"
    assert srkit.upscale(photograph(0, 9, 9), srkit.load("here")).shape == (18, 18, 3)
    assert not os.path.exists("runs")


def test_a_single_image_is_read_as_it_is(tmp_path):
    Image.fromarray(photograph(0, 9, 11)).save(tmp_path / "a.png")
    assert srkit.image_size(tmp_path / "a.png") == (9, 11)
    assert np.array_equal(srkit.read_image(tmp_path / "a.png"), photograph(0, 9, 11))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_of_another_precision_enlarges_and_is_scored(dtype, photographs):
    torch.manual_seed(1)
    network = srkit.create("architecture", "edsr", scale=2, features=4, blocks=1)
    image = photograph(0, 12, 14)
    plain = srkit.upscale(image, network).astype(int)
    network.to(dtype)
    for forward in ("whole", "tiles"):
        assert np.abs(srkit.upscale(image, network, forward=forward) - plain).max() <= 4
    assert srkit.evaluate({"mine": network}, photographs)[0]["rows"][0]["model"] == "mine"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Image.new("RGB", (4, 4)), "not PIL.Image.Image: give numpy.asarray(image.convert('RGB'))"),
        ([[[0, 0, 0]]], "not builtins.list: give numpy.asarray(image, 'uint8')"),
        (None, "not builtins.NoneType: give numpy.asarray(image, 'uint8')"),
    ],
)
def test_what_is_no_array_is_named_with_the_cure(network, wrong, message):
    with pytest.raises(ValueError, match="an image is a numpy array") as error:
        srkit.upscale(wrong, network)
    assert str(error.value) == f"an image is a numpy array, {message}"


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3)])
def test_an_image_without_pixels_is_refused(network, shape):
    with pytest.raises(ValueError, match="has pixels") as error:
        srkit.upscale(np.zeros(shape, np.uint8), network)
    assert str(error.value) == f"an image has pixels, and this one none: {list(shape)}"


def test_an_array_that_is_only_read_is_enlarged_without_a_warning(network):
    image = photograph(0, 12, 14)
    expected = srkit.upscale(image, network)
    image.flags.writeable = False
    assert np.array_equal(srkit.upscale(image, network), expected)  # a warning would be an error here
    assert np.array_equal(srkit.upscale(image[:, ::-1], network), srkit.upscale(image[:, ::-1].copy(), network))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: srkit.load([]), "load takes the path of a file or a run directory, not list"),
        (
            lambda: srkit.upscale(photograph(0, 8, 8), "net.pt"),
            "a network is needed, not its path: srkit.load('net.pt')",
        ),
        (lambda: srkit.upscale(photograph(0, 8, 8), {}), "a network is a torch.nn.Module, not dict"),
        (lambda: srkit.evaluate([], "photos"), "networks are given by name: evaluate({'mine': network}, ...)"),
        (lambda: srkit.evaluate({}, "photos", metrics="psnr"), "metrics are a list of names: metrics=['psnr']"),
        (lambda: srkit.evaluate({"a": "net.pt"}, "p"), "a network is needed, not its path: srkit.load('net.pt')"),
        (
            lambda: srkit.evaluate({}, ["photos"], scale=2),
            "data is a folder or a dataset, and list has no read, no size, no name, no lr, no fingerprint",
        ),
        (
            lambda: srkit.upscale(photograph(0, 8, 8), torch.nn.Identity(), forward="tile"),
            "unknown forward 'tile'; did you mean 'tiles'?",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_line(call, message):
    with pytest.raises(srkit.UsageError) as error:
        call()
    assert str(error.value) == message


def test_a_large_image_goes_in_tiles_where_its_network_may():
    torch.manual_seed(1)
    bicubic = srkit.create("architecture", "bicubic", scale=2)
    sizes = []
    bicubic.register_forward_hook(lambda module, given, sr: sizes.append(tuple(given[0].shape[-2:])))
    srkit.upscale(np.zeros((1000, 2000, 3), np.uint8), bicubic)
    assert max(height * width for height, width in sizes) < 1000 * 2000
    assert sum(height * width for height, width in sizes) > 1000 * 2000
    sizes.clear()
    srkit.upscale(np.zeros((1000, 1000, 3), np.uint8), bicubic)
    assert sizes == [(1000, 1000)]
    assert srkit.api._facts(srkit.create("architecture", "a2n", scale=2, **SETTINGS))["tileable"] is False
    assert srkit.api._facts(torch.nn.Identity()) == {}
