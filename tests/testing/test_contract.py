"""srkit's own components keep the contract."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from srkit.cli import main
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import installed
from srkit.testing import parametrize_components
from srkit.testing.contract import SHARED, contract
from tests.conftest import photograph

OWN = [
    entry.full_name
    for entry in installed()
    if entry.origin.distribution == "srkit" and not entry.component.missing and "spandrel" not in entry.component.name
]


# What has no defaults.
STEPS = {
    "maybe": {"step": "gaussian_noise"},
    "one_of": {"steps": ["blur", "jpeg"]},
    "sequence": {"steps": ["blur", "gaussian_noise"]},
}
SETTINGS = {
    "mix": {"datasets": [{"type": "leaves", "count": 2, "size": 64}, {"type": "leaves", "count": 1, "seed": 1}]},
    "maybe": {"augmentation": "hflip"},
    "multistep": {"milestones": [50]},
    "one_of": {"augmentations": ["hflip", "cutblur"]},
    "sequence": {"schedules": ["cosine", "constant"], "lengths": [30]},
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> dict[str, Path]:
    """The same images with LR beside HR, in each format."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "photos").mkdir()
    for i, size in enumerate([(48, 64), (64, 48), (40, 41)]):
        Image.fromarray(photograph(i, *size)).save(folder / f"photos/p{i}.png")
    paths = {"folder": folder / "tree", "h5": folder / "all.h5", "lmdb": folder / "all.lmdb"}
    if find_spec("litdata"):
        paths["litdata"] = folder / "all.litdata"
    for name, path in paths.items():
        command = ["prepare", str(folder / "photos"), str(path), "--to", name, "--scale", "2", "--scale", "4"]
        assert main(command) == 0
    return paths


@parametrize_components(*dict.fromkeys(OWN))
def test_contract(check, packed):
    component = check.entry.component
    settings = (STEPS if component.kind == "distortion" else SETTINGS).get(component.name, {})
    if component.name == "litdata" and "litdata" not in packed:
        pytest.skip("what packs it needs litdata")
    if component.kind == "dataset" and not settings:
        settings = {"path": packed[component.name]} if component.name in packed else {"count": 4, "size": 64}
    if component.name == "kernel" or component.facts.get("needs"):
        pytest.skip("it needs a file: tests/plugins/test_known_kernel.py, test_niqe.py, test_perceptual_metrics.py")
    check(**settings)


@pytest.mark.slow
@parametrize_components(*dict.fromkeys(OWN), slow=True)
def test_slow_contract(check):
    check()


def test_every_kind_has_checks_of_its_own():
    assert len(SHARED) == 5
    for kind in KINDS:
        assert len(contract(kind)) >= len(SHARED) + 3, kind


def test_no_two_checks_of_a_kind_have_one_name_and_each_says_what_it_promises():
    for checks in map(contract, KINDS):
        names = [check.name for check in checks]
        assert len(names) == len(set(names))
        assert all(check.promise.endswith(".") for check in checks)
