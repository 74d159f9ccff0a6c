"""Commands with networks that serve several scales, and with those that have one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
from srkit.engine.networks.calling import enlarge
from srkit.engine.weights.model import save_model
from tests.anywhere import Anywhere, Before, Pyramid, Sizeless
from tests.cli.conftest import save_nearest
from tests.conftest import ROOT, photograph

PLUGIN = ROOT / "tests" / "anywhere.py"


def save(path: Path, name: str, network: torch.nn.Module, scale: int) -> Path:
    save_model(path, network.state_dict(), {"architecture": name, "settings": {}, "scale": scale})
    return path


@pytest.fixture
def run(call, tmp_path):
    """Run `srkit -p anywhere.py ...` beside any.safetensors, x4.safetensors and before.safetensors."""
    torch.manual_seed(0)
    save(tmp_path / "any.safetensors", "anywhere", Anywhere(), 4)
    save(tmp_path / "x4.safetensors", "pyramid", Pyramid(scale=4), 4)
    save(tmp_path / "before.safetensors", "before", Before(scale=3), 3)
    Image.fromarray(photograph(1, 20, 25)).save(tmp_path / "one.png")
    return lambda *arguments: call("-p", PLUGIN, *arguments)


def size(path):
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize(
    ("words", "made", "by"),
    [
        (("--scale", "2.5"), (63, 50), "x2.5"),
        (("--scale", "3"), (75, 60), "x3"),
        ((), (100, 80), "x4"),
        (("--size", "64x33"), (64, 33), "to 64x33"),
        (("--size", "25x20"), (25, 20), "to 25x20"),
        (("--scale", "2.5", "--forward", "tiles"), (63, 50), "x2.5"),
    ],
)
def test_one_file_enlarges_to_any_scale_and_size(run, words, made, by):
    code, out, err = run("upscale", "any.safetensors", "one.png", "-o", "big.png", *words)
    assert (code, out, err) == (0, "", f"1 of 1 images enlarged {by}, in big.png\n")
    assert size("big.png") == made


def test_the_enlarged_image_is_the_networks_and_alpha_is_as_large(run):
    pixels = np.dstack([photograph(2, 20, 25), np.full((20, 25), 200, np.uint8)])
    Image.fromarray(pixels).save("alpha.png")
    assert run("upscale", "any.safetensors", "alpha.png", "-o", "big.png", "--scale", "1.7")[0] == 0
    torch.manual_seed(0)
    network = Anywhere().eval()
    lr = torch.from_numpy(pixels[..., :3]).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = enlarge(network, lr, (34, 43))
    with Image.open("big.png") as image:
        found = np.asarray(image)
    assert found.shape == (34, 43, 4)
    assert (found[..., 3] == 200).all()
    assert np.abs(found[..., :3] / 255 - expected[0].permute(1, 2, 0).clamp(0, 1).numpy()).max() < 0.6 / 255


@pytest.mark.parametrize(
    ("model", "words", "code", "line"),
    [
        (
            "any.safetensors",
            ("--scale", "9"),
            2,
            "srkit upscale: any.safetensors is a network 'anywhere', which takes scales from 1 to 8, not 9",
        ),
        ("any.safetensors", ("--scale", "0.5"), 2, "srkit upscale: argument --scale: a scale is at least 1, not 0.5"),
        ("any.safetensors", ("--scale", "two"), 2, "srkit upscale: argument --scale: 'two' is no number"),
        (
            "any.safetensors",
            ("--scale", "2", "--size", "50x40"),
            2,
            "srkit upscale: --size says how large images become, and --scale by how much larger: give one of them",
        ),
        (
            "any.safetensors",
            ("--size", "50,40"),
            2,
            "srkit upscale: argument --size: '50,40' is no size: write width and height, 1920x1080",
        ),
        ("any.safetensors", ("--size", "24x90"), 3, "one.png: is 25x20, which 24x90 is no enlargement of"),
        (
            "any.safetensors",
            ("--size", "201x90"),
            3,
            "one.png: is 25x20: architecture 'anywhere' takes scales from 1 to 8, not 8.04",
        ),
        (
            "x4.safetensors",
            ("--scale", "3"),
            2,
            "srkit upscale: x4.safetensors is a network 'pyramid', which has scales 2, 4, not 3",
        ),
        (
            "repeat.safetensors",
            ("--scale", "2.5"),
            2,
            "srkit upscale: repeat.safetensors is a network for scale 2, not 2.5",
        ),
        (
            "repeat.safetensors",
            ("--size", "50x40"),
            2,
            "srkit upscale: repeat.safetensors is a network for scale 2: --size needs one of any scale",
        ),
        ("before.safetensors", ("--scale", "5"), 2, "srkit upscale: architecture 'before' has scales 2, 3, 4, not 5"),
        (
            "before.safetensors",
            ("--scale", "2.5"),
            2,
            "srkit upscale: before.safetensors is a network for scale 3, not 2.5",
        ),
    ],
)
def test_what_a_network_does_not_serve_is_one_line(run, nearest, tmp_path, model, words, code, line):
    save_nearest(tmp_path / "repeat.safetensors")
    found, out, err = run("-p", nearest, "upscale", model, "one.png", "-o", "big.png", *words)
    assert (found, out, err.splitlines()[0].removesuffix("; see srkit upscale --help")) == (code, "", line)
    assert not Path("big.png").exists()


def test_a_pyramid_enlarges_and_is_scored_by_each_of_its_scales(run, photographs):
    for scale, made in ((2, (50, 40)), (4, (100, 80))):
        assert run("upscale", "x4.safetensors", "one.png", "-o", "big.png", "--scale", scale)[0] == 0
        assert size("big.png") == made
        code, out, _ = run("eval", "x4.safetensors", "--data", "photos", "--scale", scale, "--json")
        (table,) = json.loads(out)["tables"]
        assert (code, table["scale"]) == (0, scale)
        assert [row["model"] for row in table["rows"]] == ["x4", "bicubic"]


def test_weights_that_fit_any_scale_make_the_network_of_the_scale_that_is_said(run):
    for words, made in (((), (75, 60)), (("--scale", "2"), (50, 40)), (("--scale", "4"), (100, 80))):
        assert run("upscale", "before.safetensors", "one.png", "-o", "big.png", *words)[0] == 0
        assert size("big.png") == made
    assert run("convert", "before.safetensors", "x2.safetensors", "--scale", "2")[0] == 0
    assert run("upscale", "x2.safetensors", "one.png", "-o", "big.png")[2].startswith("1 of 1 images enlarged x2")


def test_bare_weights_of_any_scale_need_no_scale_to_be_read(run):
    torch.manual_seed(0)
    torch.save(Anywhere().state_dict(), "bare.pth")
    code, _, err = run(
        "upscale", "bare.pth", "one.png", "-o", "big.png", "--architecture", "anywhere", "--size", "60x50"
    )
    assert (code, size("big.png")) == (0, (60, 50))
    assert err.splitlines()[0] == (
        "bare.pth is for several scales, x2 and x3 and x4 among them; --scale N says which, and x2 is taken"
    )
    assert run("upscale", "bare.pth", "one.png", "-o", "b.png", "--architecture", "anywhere", "--scale", "2.5")[0] == 0
    assert size("b.png") == (63, 50)


@pytest.mark.parametrize("scale", [1.5, 2.7, 3])
def test_one_file_is_scored_at_any_scale_beside_bicubic(run, photographs, scale):
    code, out, err = run("eval", "any.safetensors", "--data", "photos", "--scale", scale, "--json")
    assert (code, "far below bicubic" in err) == (0, True)  # it is not trained
    (table,) = json.loads(out)["tables"]
    assert (table["scale"], table["protocol"]["border"]["psnr_y"]) == (scale, int(np.ceil(scale)))
    assert [row["model"] for row in table["rows"]] == ["any", "bicubic"]
    printed = run("eval", "any.safetensors", "--data", "photos", "--scale", scale)[1]
    assert printed.startswith(f"photos x{scale}")
    cropped = "HR cropped to a multiple of scale" if scale == 3 else "HR cropped to the nearest to a multiple of scale"
    assert cropped in printed


def test_a_score_at_a_scale_that_is_no_whole_number_is_computed_by_hand(run, photographs):
    hr = photograph(0, 48, 64)
    table = json.loads(run("eval", "any.safetensors", "--data", "photos", "--scale", "2.7", "--json")[1])["tables"][0]
    lr = srkit.create("degradation", "bicubic")(hr[:46, :62], (17, 23))  # 17 * 2.7 is 45.9, 23 * 2.7 is 62.1
    bicubic = srkit.upscale(lr, srkit.create("architecture", "bicubic"), size=(46, 62))
    score = srkit.create("metric", "psnr_y")(bicubic[3:-3, 3:-3], hr[3:43, 3:59])
    assert table["rows"][1]["images"]["p0"]["psnr_y"] == pytest.approx(score, abs=1e-9)


def test_degrade_makes_lr_of_any_scale_by_what_serves_it(run, photographs):
    assert run("degrade", "bicubic", "photos", "lr", "--scale", "2.7") == (
        0,
        "",
        "4 of 4 images downscaled by 2.7, in lr\n",
    )
    assert size("lr/p0.png") == (23, 17)
    assert run("degrade", "dimmed_x2", "photos", "lr", "--scale", "2.7")[::2] == (
        2,
        "srkit degrade: degradation 'dimmed_x2' serves whole scales, not 2.7: its call does not declare 'size'\n",
    )


def test_in_python_a_network_of_any_scale_is_told_the_scale_or_the_size(run):
    image, network = photograph(1, 20, 25), Anywhere()
    assert srkit.upscale(image, network, scale=2.5).shape == (50, 63, 3)
    assert srkit.upscale(image, network, size=(33, 64), forward="tiles").shape == (33, 64, 3)
    for words, line in (
        ({}, "the network serves several scales: give scale, or size"),
        ({"scale": 2, "size": (40, 50)}, "scale says how much larger SR is, and size how large: give one of them"),
        ({"scale": 0.5}, "the network takes scales from 1, not 0.5"),
    ):
        with pytest.raises(srkit.UsageError) as error:
            srkit.upscale(image, network, **words)
        assert str(error.value) == line
    with pytest.raises(srkit.UsageError) as error:
        srkit.upscale(image, Before(scale=3), scale=2)
    assert str(error.value) == "the network has scale 3, not 2"
    with pytest.raises(srkit.UsageError) as error:
        srkit.evaluate({"mine": network}, "photos")
    assert str(error.value) == "a network serves several scales: give it"
    with pytest.raises(srkit.UsageError) as error:
        srkit.evaluate({"mine": Pyramid(scale=4)}, "photos", scale=3)
    assert str(error.value) == "network 'mine' has scales 2, 4, not 3"


def test_a_pyramid_is_converted_as_what_it_was_made_for(run):
    assert run("convert", "x4.safetensors", "x2.safetensors", "--scale", 2) == (
        2,
        "",
        "srkit convert: x4.safetensors is a network 'pyramid' made for scale 4, and stays one: leave out --scale 2, "
        "which eval and upscale take\n",
    )
    assert not Path("x2.safetensors").exists()
    code, out, _ = run("convert", "x4.safetensors", "same.safetensors", "--scale", 4)
    assert (code, out.splitlines()[0]) == (0, "ok  same.safetensors  pyramid x4, 0.0 MiB")
    code, out, _ = run(
        "convert", "before.safetensors", "before2.safetensors", "--scale", 2
    )  # its weights fit any scale
    assert (code, out.splitlines()[0]) == (0, "ok  before2.safetensors  before x2, 0.0 MiB")


def test_a_pyramid_whose_forward_does_not_declare_size_is_told_to(run, tmp_path):
    save(tmp_path / "sizeless.safetensors", "sizeless", Sizeless(scale=4), 4)
    assert run("upscale", "sizeless.safetensors", "one.png", "-o", "big.png", "--scale", 2) == (
        2,
        "",
        "srkit upscale: sizeless.safetensors is a network for scale 4, not 2: its forward must declare 'size', "
        "(height, width) of SR, by which it knows which of its scales is meant\n",
    )
