"""NIQE against BasicSR's numbers and an independent account of the paper, the files it reads, and `srkit fit`."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import convolve
from scipy.special import gamma
from srkit_metrics import niqe
from srkit_metrics.niqe import Niqe
from srkit_resize.kernel import resizing
from srkit_resize.matlab import enlarge, shrink

import srkit
from srkit.cli import main
from srkit.plugin.discovery import installed
from srkit.testing.check import Subject
from srkit.testing.running import results

DATA = os.environ.get("SRKIT_TEST_DATA")
Floats = NDArray[np.float64]


def textured(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """An image with grain of several sizes, so that no part of it is flat."""
    rng = np.random.default_rng(seed)
    total = rng.normal(0, 6, (height, width, 3))
    for scale in (2, 4, 8, 16):
        grain = rng.normal(0, 7 * scale**0.5, (height // scale + 1, width // scale + 1, 1))
        total += grain.repeat(scale, 0).repeat(scale, 1)[:height, :width]
    return np.clip(total + 128, 0, 255).round().astype(np.uint8)


def drawn() -> tuple[Floats, Floats]:
    """A mean and a covariance of 36 features."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(0, 0.2, (36, 36))
    return rng.uniform(0.1, 1.5, 36), mixing @ mixing.T + 0.01 * np.eye(36)


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    mean, covariance = drawn()
    np.savez(tmp_path / "drawn.npz", mu_pris_param=mean[None], cov_pris_param=covariance)
    return tmp_path / "drawn.npz"


# Of BasicSR 1.4.2's own code, given these planes, this mean and this covariance. It halves images in float32.
BASICSR = {
    (200, 300, 1): (24.52975921090685, 24.32129956632155),
    (96, 192, 2): (18.437788510950167, 18.266816504780753),
    (289, 191, 3): (17.977007851596596, 17.8711029408386),
}


@pytest.mark.parametrize("image", BASICSR)
def test_niqe_is_that_of_basicsr(parameters: Path, image: tuple[int, int, int]) -> None:
    grey, luma = BASICSR[image]
    assert Niqe(parameters=parameters)(textured(*image)) == pytest.approx(grey, rel=1e-5)
    assert Niqe(parameters=parameters, plane="y")(textured(*image)) == pytest.approx(luma, rel=1e-5)


def plainly(grey: Floats) -> tuple[Floats, Floats]:
    """The features of each patch of a grey plane, and its mean deviation, a patch and a value at a time."""
    line = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(line, line) / np.outer(line, line).sum()
    shapes = np.arange(0.2, 10.001, 0.001)
    ratios = gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))

    def fitted(values: Floats) -> tuple[float, float, float]:
        left, right = (np.sqrt(np.mean(side**2)) for side in (values[values < 0], values[values > 0]))
        g = left / right
        r = np.mean(np.abs(values)) ** 2 / np.mean(values**2) * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
        shape = shapes[np.argmin((ratios - r) ** 2)]
        spread = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
        return shape, left * spread, right * spread

    found: list[list[list[float]]] = []
    deviations: list[float] = []
    for side in (96, 48):
        mean = convolve(grey, window, mode="nearest")
        deviation = np.sqrt(np.abs(convolve(grey**2, window, mode="nearest") - mean**2))
        structure = (grey - mean) / (deviation + 1)
        patches = []
        for top in range(0, grey.shape[0], side):
            for left in range(0, grey.shape[1], side):
                patch = structure[top : top + side, left : left + side]
                shape, low, high = fitted(patch)
                features = [shape, (low + high) / 2]
                for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
                    shape, low, high = fitted(patch * np.roll(patch, shift, (0, 1)))
                    features += [shape, (high - low) * gamma(2 / shape) / gamma(1 / shape), low, high]
                patches.append(features)
                if side == 96:
                    deviations.append(deviation[top : top + side, left : left + side].mean())
        found.append(patches)
        for axis in (0, 1):  # MATLAB's rule for any two lengths
            positions, weights = resizing(grey.shape[axis], grey.shape[axis] // 2, "symmetric")
            grey = np.moveaxis((np.moveaxis(grey, axis, -1)[..., positions] * weights).sum(-1), -1, axis)
    return np.concatenate([np.array(patches) for patches in found], 1), np.array(deviations)


def grey(image: NDArray[np.uint8]) -> Floats:
    height, width = (side // 96 * 96 for side in image.shape[:2])
    return np.round(image[:height, :width] @ np.array([0.298936021293776, 0.587043074451121, 0.114020904255103]))


def test_niqe_is_what_the_paper_says(parameters: Path) -> None:
    image = textured(200, 300, 4)
    features, _ = plainly(grey(image))
    mean, covariance = drawn()
    difference = mean - features.mean(0)
    expected = np.sqrt(difference @ np.linalg.pinv((covariance + np.cov(features, rowvar=False)) / 2) @ difference)
    assert Niqe(parameters=parameters)(image) == pytest.approx(expected, rel=1e-9)
    assert Niqe(parameters=parameters)(torch.from_numpy(image)) == pytest.approx(expected, rel=1e-9)


def test_it_is_fitted_to_the_patches_that_are_sharp_in_their_photograph() -> None:
    images = []
    for seed in range(12):
        image = textured(200, 300, seed)
        image[:, 96 * (seed % 3) : 96 * (seed % 3) + 96] //= 3  # less contrast, and less sharp
        images.append(image)
    kept = []
    for image in images:
        features, deviations = plainly(grey(image))
        kept.append(features[deviations > 0.75 * deviations.max()])
    expected = np.concatenate(kept)
    assert len(expected) == 12 * 4
    found = np.load(io.BytesIO(Niqe.fit([*images, textured(95, 300, 0)])))
    np.testing.assert_allclose(found["mu_pris_param"], expected.mean(0)[None], rtol=1e-9)
    np.testing.assert_allclose(found["cov_pris_param"], np.cov(expected, rowvar=False), rtol=1e-6, atol=1e-12)


def test_an_image_of_one_colour_has_a_number_the_same_for_each_colour(parameters: Path) -> None:
    metric = Niqe(parameters=parameters)
    flat = metric(np.full((200, 208, 3), 90, np.uint8))
    assert np.isfinite(flat)
    assert metric(np.full((200, 208, 3), 201, np.uint8)) == flat


@pytest.mark.parametrize("level", [7, 200, 255])
def test_of_a_flat_patch_not_the_rounding_of_sums_is_measured(parameters: Path, level: int) -> None:
    image = textured(96, 288, 5)
    image[:, 150:] = level
    (fine, _), (coarse, _) = niqe._scales(niqe._plane(image, "grey"))
    for features in (fine, coarse):
        assert not np.isnan(features[:2]).any()
        assert features[2][~np.isnan(features[2])].tolist() == [0.2] * 5  # the shapes, as MATLAB has them
    assert np.isfinite(Niqe(parameters=parameters)(image))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((95, 400, 3), "images must be at least 96x96 pixels once the border is cut, not 400x95"),
        ((120, 100, 3), "NIQE wants two patches of 96x96 pixels at least, and 100x120 has one"),
        ((200, 200), "SR must be uint8 [height, width, 3], not uint8 [200, 200]"),
    ],
)
def test_images_that_are_too_small_or_grey_are_refused(parameters: Path, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        Niqe(parameters=parameters)(np.zeros(shape, np.uint8))
    assert str(error.value) == message


@pytest.mark.parametrize("compressed", [False, True])
def test_the_authors_mat_file_is_read_and_its_numbers_have_the_same_digest(
    parameters: Path, tmp_path: Path, compressed: bool
) -> None:
    mean, covariance = drawn()
    numbers = {"x": "a text", "mu_prisparam": mean[None], "cov_prisparam": covariance, "n": np.int8([[3]])}
    scipy.io.savemat(tmp_path / "modelparameters.mat", numbers, do_compression=compressed)
    metric = Niqe(parameters=tmp_path / "modelparameters.mat")
    assert metric(textured(200, 300, 1)) == Niqe(parameters=parameters)(textured(200, 300, 1))
    assert metric.protocol == Niqe(parameters=parameters).protocol
    assert metric.protocol == f"rgb2gray, parameters {metric.natural.digest}"
    assert Niqe(parameters=parameters, plane="y").protocol == f"parameters {metric.natural.digest}"


def absent(path: Path) -> None:
    pass


def text(path: Path) -> None:
    path.write_text("an error page")


def other_names(path: Path) -> None:
    np.savez(path, mean=np.zeros((1, 36)))


def other_shape(path: Path) -> None:
    np.savez(path, mu_pris_param=np.zeros((1, 18)), cov_pris_param=np.eye(18))


def not_finite(path: Path) -> None:
    np.savez(path, mu_pris_param=np.full((1, 36), np.nan), cov_pris_param=np.eye(36))


def pickled(path: Path) -> None:
    np.savez(path, mu_pris_param=np.array([{}], dtype=object), cov_pris_param=np.eye(36))


def newer(path: Path) -> None:
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n")


def cut(path: Path) -> None:
    whole = io.BytesIO()
    scipy.io.savemat(whole, {"mu_prisparam": np.zeros((1, 36))})
    path.write_bytes(whole.getvalue()[:-40])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.npz", absent, "cannot be read: No such file or directory"),
        ("a.pth", text, "parameters are an .npz file, or MATLAB's .mat"),
        ("a.npz", other_names, "it has no 'mu_pris_param'; it has mean"),
        ("a.npz", other_shape, "'mu_pris_param' must be [1, 36], all finite, not [1, 18]"),
        ("a.npz", not_finite, "'mu_pris_param' must be [1, 36], all finite, not [1, 36]"),
        ("a.mat", text, "is no .mat file of parameters: it is not of MATLAB's version 5 to 7"),
    ],
)
def test_a_file_that_holds_no_parameters_is_refused(
    tmp_path: Path, name: str, write: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        Niqe(parameters=path)
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize(("name", "write"), [("a.npz", text), ("a.npz", pickled), ("a.mat", newer), ("a.mat", cut)])
def test_a_file_that_is_damaged_or_of_another_kind_is_one_line(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the beginning of the message is compared
        Niqe(parameters=path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def textures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for seed in range(count):
        Image.fromarray(textured(200, 300, seed)).save(folder / f"{seed}.png")
    return folder


def test_fit_makes_the_file_that_a_recipe_and_eval_take(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    textures(Path("photos"), 10)
    assert main(["fit", "niqe", "photos", "made/niqe.npz"]) == 0
    assert capsys.readouterr().out == (
        "ok  made/niqe.npz  fitted to 10 images\n"
        '    in a recipe  metric = { type = "niqe", parameters = "made/niqe.npz" }\n'
    )
    digest = Niqe(parameters=Path("made/niqe.npz")).natural.digest
    told = ["--metric", '{type = "niqe", parameters = "made/niqe.npz"}']
    assert main(["eval", "--data", "photos", "--scale", "2", *told]) == 0
    out = capsys.readouterr().out
    assert f"niqe on Y of SR alone (rgb2gray, parameters {digest}); SR rounded" in out


@pytest.mark.parametrize(
    ("told", "code", "message"),
    [
        (["niqe", "photos", "niqe.npz"], 3, "photos: {few}"),
        (["psnr", "photos", "x.npz"], 2, "metric 'psnr' has nothing to fit: it needs no file of images' statistics"),
        (["niqe", "photos", "photos"], 2, "photos is there already: remove it, or give another name"),
        (["a.toml", "b", "c"], 2, "a.toml is a recipe, and fit makes the file of a metric: srkit run trains recipes"),
        (["nique", "photos", "x.npz"], 2, "unknown metric 'nique'; did you mean 'niqe'?"),
        (
            ["niqe", "folder:photos", "x.npz", "--recursive"],
            2,
            "--recursive goes with a folder, and folder:photos says all by itself",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(tmp_path, monkeypatch, capsys, told, code, message) -> None:
    monkeypatch.chdir(tmp_path)
    textures(Path("photos"), 2)
    few = "12 sharp patches of 96x96 pixels are too few for 36 features: give more photographs, or larger ones"
    assert main(["fit", *told]) == code
    assert capsys.readouterr().err.partition(" (installed")[0].strip() == f"srkit fit: {message.format(few=few)}"
    assert sorted(path.name for path in Path().iterdir()) == ["photos"]


needs_data = pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")


@pytest.fixture(scope="module")
def bsds() -> list[NDArray[np.uint8]]:
    """Sixty photographs."""
    return [srkit.read_image(path) for path in sorted(Path(f"{DATA}/data/BSDS200").iterdir())[:60]]


@pytest.fixture
def fitted(bsds: list[NDArray[np.uint8]], tmp_path: Path) -> Path:
    """Parameters fitted to fifty of them."""
    (tmp_path / "fitted.npz").write_bytes(Niqe.fit(bsds[:50]))
    return tmp_path / "fitted.npz"


@needs_data
def test_photographs_score_better_than_what_became_of_them(bsds: list[NDArray[np.uint8]], fitted: Path) -> None:
    metric = Niqe(parameters=fitted)
    rng = np.random.default_rng(0)
    sums = np.zeros(3)
    for image in bsds[50:]:
        image = image[: image.shape[0] // 4 * 4, : image.shape[1] // 4 * 4]
        noisy = np.clip(image + rng.normal(0, 25, image.shape), 0, 255).astype(np.uint8)
        sums += [metric(image), metric(noisy), metric(enlarge(shrink(image, 4), 4))]
    assert sums[0] < 0.7 * sums[1]
    assert sums[0] < 0.7 * sums[2]


@needs_data
def test_the_contract_of_niqe_is_kept_but_for_what_it_states(fitted: Path) -> None:
    registry = installed()
    found = results(Subject(registry.find("metric", "niqe"), registry, {"parameters": fitted}))
    told = {r.check.name: r.outcome for r in found if r.outcome not in ("passed", "skipped")}
    assert told == {"more_damage_scores_worse": "declared"}
