"""Scores of what is no colour, and of what is no image to score."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import srkit
from srkit.cli import main
from srkit.engine.data.conversions import to_batch, to_rest
from srkit.engine.scoring.evaluate import upscale
from srkit.engine.scoring.tiling import tiles
from srkit.errors import InputRejected, UsageError
from srkit.protocol import Method
from tests.conftest import HANGS


class Spoilt(nn.Module):
    """Enlarges by 2; on images of some width with a value that is no colour."""

    def __init__(self, value, width=None):
        super().__init__()
        self.value, self.width = value, width

    def forward(self, x):
        sr = nn.functional.interpolate(x, scale_factor=2)
        if self.width in (None, x.shape[-1]):
            sr[..., 0, 0] = self.value
        return sr


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_output_that_is_not_finite_makes_no_image(value):
    with pytest.raises(ValueError, match=r"^the network's output is not finite: its weights are spoilt, or too large$"):
        srkit.upscale(np.zeros((8, 8, 3), np.uint8), Spoilt(value))


def test_output_that_is_not_finite_has_no_score_and_neither_has_the_mean(photographs):
    (table,) = srkit.evaluate({"spoilt": Spoilt(math.nan, width=24)}, photographs, scale=2)
    row = table["rows"][0]
    assert math.isnan(row["mean"]["psnr_y"])
    assert {name: math.isnan(scores["psnr_y"]) for name, scores in row["images"].items()} == {
        "p0": False,
        "p1": True,  # 48 pixels wide
        "p2": False,
        "p3": False,
    }
    assert math.isfinite(table["rows"][1]["mean"]["psnr_y"])


def test_a_file_whose_weights_are_not_finite_has_no_score_and_enlarges_nothing(photographs, monkeypatch, capsys):
    monkeypatch.chdir(photographs.parent)
    network = srkit.create("architecture", "espcn", scale=2)
    torch.save({name: torch.full_like(t, torch.inf) for name, t in network.state_dict().items()}, "w.pt")
    words = ["w.pt", "--architecture", "espcn", "--scale", "2"]
    assert main(["eval", *words, "--data", "photos", "--json"]) == 1
    found = capsys.readouterr()
    assert json.loads(found.out)["tables"][0]["rows"][0]["mean"]["psnr_y"] == "nan"
    assert found.err == (
        "w has no scores on 4 of 4 images (p0, p1, p2, p3) of photos: its output is not finite: its weights are "
        "spoilt, or too large\n"
    )
    assert main(["upscale", *words, "photos/p0.png", "-o", "out"]) == 3
    assert "photos/p0.png: the network's output is not finite" in capsys.readouterr().err


def test_an_image_smaller_than_the_scale_is_named(photographs):
    Image.new("RGB", (1, 1)).save(photographs / "q.png")
    with pytest.raises(InputRejected) as error:
        srkit.evaluate({"m": Spoilt(0.0)}, photographs, scale=2)
    assert str(error.value) == "q: is smaller than the scale, 2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"ensemble": "x9"}, "unknown ensemble 'x9'; there are: median, none, x8"),
        ({"forward": "tile"}, "unknown forward 'tile'; did you mean 'tiles'?"),
    ],
)
def test_a_word_that_no_protocol_has_is_refused(photographs, words, message):
    with pytest.raises(UsageError) as error:
        srkit.evaluate({"m": Spoilt(0.0)}, photographs, scale=2, **words)
    assert str(error.value) == message


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("name", "settings"), [("a2n", {"features": 4, "blocks": 1}), ("edsr", {"features": 4})])
def test_tiles_written_one_by_one_are_those_put_together_in_floats(name, settings, dtype):
    torch.manual_seed(0)
    network = srkit.create("architecture", name, scale=2, **settings).eval()
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (140, 230, 3)).astype(dtype)
    told = []
    found = upscale(image, network, method=Method(forward="tiles"), progress=lambda *count: told.append(count))
    with torch.no_grad():
        assert np.array_equal(found, to_rest(tiles(network, to_batch(image, torch.device("cpu"))), dtype))
    assert told == [(done, 6) for done in range(1, 7)]


PEAK = """\
import resource, sys
import numpy as np, torch
import srkit
network = torch.nn.Upsample(scale_factor=4)
image = np.zeros((int(sys.argv[1]), 1000, 3), np.uint8)
srkit.upscale(image[:200], network, forward="tiles")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
srkit.upscale(image, network, forward="tiles")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_image_takes_little_more_memory_than_its_sr():
    run = subprocess.run([sys.executable, "-c", PEAK, "2000"], capture_output=True, text=True, timeout=HANGS)
    assert run.returncode == 0, run.stderr
    kibibytes = int(run.stdout)  # of SR: 8000x4000x3 bytes are 94 MiB; in floats they would be 375
    assert kibibytes < 200 * 1024


@pytest.fixture
def one_is_black(photographs):
    """A folder of a photograph and a black image, which every network that adds nothing has exactly."""
    for path in photographs.glob("p[123].png"):
        path.unlink()
    Image.new("RGB", (40, 40)).save(photographs / "black.png")
    return photographs


def test_an_exact_image_is_named_and_in_no_mean_and_in_no_difference(one_is_black):
    nearest, bright = Spoilt(0.0), Spoilt(1.0)  # of which one pixel is wrong, in black.png too
    (table,) = srkit.evaluate({"nearest": nearest, "bright": bright}, one_is_black, scale=2, metrics=["psnr"])
    first, second, bicubic = table["rows"]
    assert first["images"]["black"]["psnr"] == bicubic["images"]["black"]["psnr"] == math.inf
    assert first["exact"] == bicubic["exact"] == {"psnr": ["black"]}
    assert first["mean"]["psnr"] == first["images"]["p0"]["psnr"]
    # Where no image is left out, a row is what it always was.
    assert "exact" not in srkit.evaluate({"n": nearest}, one_is_black, scale=2, metrics=["ssim"])[0]["rows"][0]
    # The border cuts that one pixel, so that it is exact, too; the means of p0 alone are compared.
    gain = second["images"]["p0"]["psnr"] - first["images"]["p0"]["psnr"]
    assert second["difference"]["psnr"] == {"mean": gain, "low": None, "high": None}


def test_two_networks_that_are_exact_everywhere_have_no_difference(one_is_black):
    (one_is_black / "p0.png").unlink()
    (table,) = srkit.evaluate({"a": Spoilt(0.0), "b": Spoilt(0.0)}, one_is_black, scale=2)
    assert table["rows"][1]["mean"] == {"psnr_y": math.inf, "ssim_y": 1.0}
    assert table["rows"][1]["difference"] == {
        "to": "a",
        "psnr_y": {"mean": None, "low": None, "high": None},
        "ssim_y": {"mean": 0.0, "low": None, "high": None},
    }


def test_any_dataset_can_be_scored_on(photographs):
    dataset = srkit.create("dataset", "folder", path=str(photographs), names=["p0", "p2"])
    (table,) = srkit.evaluate({"m": Spoilt(0.0)}, dataset, scale=2)
    assert (table["data"], list(table["rows"][0]["images"])) == ("data", ["p0", "p2"])
    assert srkit.evaluate({"m": Spoilt(0.0)}, {"two": dataset}, scale=2)[0]["rows"] == table["rows"]
    with pytest.raises(UsageError) as error:
        srkit.evaluate({"m": Spoilt(0.0)}, {"n": 3}, scale=2)
    assert str(error.value) == (
        "data is a folder or a dataset, and int has no read, no size, no name, no lr, no fingerprint"
    )


def test_finished_files_have_the_scores_of_the_network_that_made_them(photographs, tmp_path):
    network = Spoilt(0.0)
    made = tmp_path / "made"
    made.mkdir()
    degrade = srkit.create("degradation", "bicubic", scale=2)
    for path, behind in zip(sorted(photographs.iterdir()), ["", "_x2_SR", "x2", "-any program"], strict=True):
        hr = np.asarray(Image.open(path))
        hr = hr[: hr.shape[0] // 2 * 2, : hr.shape[1] // 2 * 2]
        Image.fromarray(srkit.upscale(degrade(hr), network)).save(made / f"{path.stem}{behind}.png")
    (made / "p10.png").write_bytes((made / "p0.png").read_bytes())  # which is of no HR image
    (table,) = srkit.evaluate({"network": network}, photographs, images={"files": made})
    first, second, _ = table["rows"]
    assert (second["model"], second["images"], second["mean"]) == ("files", first["images"], first["mean"])

    Image.new("RGB", (64, 48)).save(made / "p1x2_b.png")
    with pytest.raises(InputRejected) as error:
        srkit.evaluate({}, photographs, scale=2, images={"files": made})
    assert str(error.value) == f"{made}: has several SR images of p1: p1_x2_SR.png and p1x2_b.png; keep one"
    (made / "p1x2_b.png").unlink()
    Image.new("RGB", (64, 48)).save(made / "p0.png")
    Image.new("RGB", (41, 40)).save(made / "p2x2.png")
    with pytest.raises(InputRejected) as error:
        srkit.evaluate({}, photographs, scale=2, images={"files": made})
    assert str(error.value) == f"{made / 'p2x2.png'}: is 41x40, and HR, cropped to a multiple of the scale, is 40x40"
    (made / "p2x2.png").unlink()
    with pytest.raises(InputRejected) as error:
        srkit.evaluate({}, photographs, scale=2, images={"files": made})
    assert str(error.value) == (
        f"{made}: has no SR image for 1 of 4 HR images: p2; SR files are called as HR, or with more behind "
        "(baby_x2_SR.png)"
    )
