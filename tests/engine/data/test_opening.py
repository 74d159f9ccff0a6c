"""A recipe's images, opened: LR files that are not used, sizes, and what many images cost."""

from __future__ import annotations

import logging
import tracemalloc

import numpy as np
import pytest

from srkit.cli import main
from srkit.engine.builder import Builder
from srkit.engine.data.opening import make_pairs, unused_lr
from srkit.engine.data.pairs import Pairs
from srkit.engine.data.pools import SourcePool, large_enough
from srkit.images.manifest import ImageRecord, Manifest
from srkit.images.writing import save_image
from srkit.plugin.discovery import installed
from srkit.recipe.reading import read_part
from tests.conftest import calls, photograph


@pytest.fixture
def beside(tmp_path):
    """Pairs of scale 2 in folders HR and LR."""
    for folder, side in (("HR", 48), ("LR", 24)):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
        for i in range(2):
            save_image(tmp_path / "pairs" / folder / f"p{i}.png", photograph(i, side, side))
    return tmp_path / "pairs"


def notes(folder, scale, degradation=None):
    builder = Builder(installed())
    part = None if degradation is None else read_part(builder.registry, "degradation", degradation)
    source = builder.registry.create("dataset", "folder", path=str(folder))
    return unused_lr(make_pairs(builder, source, scale, part, for_training=True), part)


def test_lr_files_that_are_used_need_no_word(beside):
    assert notes(beside, 2) == []


def test_without_lr_files_there_is_nothing_to_say(photographs):
    assert notes(photographs, 2) == notes(photographs, 2, "bicubic") == []


def test_lr_files_that_a_degradation_displaces_are_said_with_the_cure(beside):
    assert notes(beside, 2, "bicubic") == [
        "the LR files x2 beside HR are not used, since data.degradation is 'bicubic'; "
        "--set data.degradation= takes the files"
    ]


def test_lr_files_of_another_scale_are_said(beside):
    (note,) = notes(beside, 4)
    assert note.startswith("the LR files beside HR are x2, not x4: LR is made by ")


def test_lr_files_that_could_not_be_used_anyway_are_said(beside):
    save_image(beside / "LR" / "p1.png", photograph(1, 23, 24))
    assert notes(beside, 2, "bicubic") == [
        "the LR files beside HR are not used, since data.degradation is 'bicubic', and could not be: "
        f"{beside}/LR/p1.png: is 24x23, but p1.png is 48x48, which needs 24x24 at scale 2"
    ]


@pytest.mark.parametrize("kind", ["folder", "h5", "lmdb"])
def test_opening_pairs_is_linear_in_their_number(tmp_path, kind):
    builder = Builder(installed())

    def work(count):
        root = tmp_path / f"{count}" / ("set" if kind == "folder" else f"set.{kind}")
        root.parent.mkdir()
        writer = builder.registry.create("writer", kind, path=root)
        images = {"hr": photograph(0, 16, 16), "lr_x2": photograph(0, 8, 8)}
        records = {side: (ImageRecord.of(image),) * count for side, image in images.items()}
        names = [f"{i:04d}" for i in range(count)]
        for name in names:
            writer.add(name, images)
        writer.finish(Manifest(tuple(names), records))
        writer.close()

        def opened():
            source = builder.registry.create("dataset", kind, path=str(root))
            pairs = make_pairs(builder, source, 2, None, for_training=True)
            assert large_enough(pairs, 8) == (range(count), [])

        opened()  # what is imported, and what is kept for the process
        return calls(opened)

    few, more, many = work(40), work(80), work(160)
    assert many - more < 1.3 * 2 * (more - few)


def test_check_and_run_say_that_lr_files_are_not_used(beside, tiny, capsys, caplog):
    settings = ["--set", "data.dataset.path=pairs", "--set", "data.degradation=bicubic", "--set", "train.steps=1"]
    said = "the LR files x2 beside HR are not used, since data.degradation is 'bicubic'"
    assert main(["check", str(tiny), *settings]) == 0
    assert said in capsys.readouterr().out
    with caplog.at_level(logging.WARNING, "srkit"):
        assert main(["run", str(tiny), *settings, "--out", "runs/x"]) == 0
    assert said in caplog.text + capsys.readouterr().err


class Many:
    """Black images without files; each tenth may be small."""

    def __init__(self, count: int, small: bool) -> None:
        self.count, self.small = count, small

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"image{index}"

    def size(self, index: int) -> tuple[int, int]:
        return (20 if self.small and index % 10 == 3 else 100), 100

    def read(self, index: int, window: object = None) -> np.ndarray:
        return np.zeros((*self.size(index), 3), np.uint8)

    def lr(self, scale: int) -> None:
        return None


def many(count, *, small=False):
    return Pairs(Many(count, small), 2, degradation=None, made_by="files", files=False)  # type: ignore[arg-type]


def test_images_that_a_patch_does_not_fit_into_are_left_out_by_name():
    fits, others = large_enough(many(2_015, small=True), 48)
    assert others == [f"image{index}" for index in range(2_015) if index % 10 == 3]
    assert list(fits) == [index for index in range(2_015) if index % 10 != 3]
    assert large_enough(many(2_015), 48) == (range(2_015), [])


def test_many_images_take_little_memory_to_look_at_and_to_keep():
    pairs = many(20_000)
    large_enough(pairs, 48)
    tracemalloc.start()
    pool = SourcePool(pairs, large_enough(pairs, 48)[0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(pool.sizes) == 20_000
    assert peak / 20_000 < 64  # bytes; a future for each took 1,800
