from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from srkit.engine.data.batches import Augmentation, Batch, Batches, BatchPlan, RandomDegradation
from srkit.engine.data.conversions import rounded_to_8_bits
from srkit.engine.data.pairs import Pairs
from srkit.engine.data.pools import NAMED, DevicePool, PackedPool, SourcePool, large_enough, make_pool
from srkit.errors import InputRejected
from srkit.images.reading import read_image
from srkit.images.writing import save_image
from srkit.plugin.discovery import installed
from srkit.runs.stopping import Interrupted, StopFlag

CPU = torch.device("cpu")


def pairs_of(folder, scale=2, **settings):
    source = installed().create("dataset", "folder", path=str(folder))
    degrade = installed().create("degradation", "bicubic", scale=scale)
    return Pairs(source, scale, degradation=degrade, made_by="bicubic", files=True, **settings)


def plan(**changes):
    augmentations = tuple(
        Augmentation(f"augment.{i}.{name}", installed().create("augmentation", name), 1)
        for i, name in enumerate(["hflip", "vflip", "rot90"])
    )
    return BatchPlan(**{"seed": 7, "batch": 6, "patch": 8, "scale": 2, "augmentations": augmentations, **changes})


def draw(pool, steps, **changes):
    made = Batches(pool, plan(**changes), CPU)
    try:
        return [(made[step].lr, made[step].hr) for step in steps]
    finally:
        made.close()


def equal(first, second):
    return all(torch.equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))


@pytest.fixture
def pairs(photographs):
    return pairs_of(photographs)


@pytest.fixture
def packed(pairs):
    return PackedPool(pairs, range(4), threads=2)


def test_a_batch_is_float_in_0_to_1_and_lr_fits_hr(packed):
    lr, hr = draw(packed, [0])[0]
    assert (lr.shape, hr.shape, lr.dtype, hr.dtype) == ((6, 3, 8, 8), (6, 3, 16, 16), torch.float32, torch.float32)
    assert 0 <= lr.min() < lr.max() <= 1
    # An area mean of HR is near the bicubic LR: the two are the same place, turned and flipped alike.
    assert (torch.nn.functional.avg_pool2d(hr, 2) - lr).abs().mean() < 0.06


def test_any_order_of_asking_gives_the_same_batches(packed):
    straight = draw(packed, range(6))
    made = Batches(packed, plan(), CPU)
    for step in (5, 0, 3, 4, 2, 1, 0):
        assert equal([(made[step].lr, made[step].hr)], [straight[step]])
    made.close()


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_any_number_of_processes_sees_the_same_samples(packed, processes):
    whole = draw(packed, [11])[0]
    size = 6 // processes
    shares = [draw(packed, [11], slots=(i * size, (i + 1) * size))[0] for i in range(processes)]
    assert equal([whole], [[torch.cat(parts) for parts in zip(*shares, strict=True)]])


def test_every_cache_gives_the_same_batches(pairs, packed):
    expected = draw(packed, range(4))
    assert equal(expected, draw(SourcePool(pairs, range(4)), range(4)))
    assert equal(expected, draw(DevicePool(packed, CPU), range(4)))
    reader = Batches(SourcePool(pairs, range(4)), plan(), CPU, threads=3)
    assert equal(expected, [(reader[step].lr, reader[step].hr) for step in range(4)])
    reader.close()


@pytest.mark.parametrize("name", ["p0.png", "p3.png"])
def test_a_training_windows_lr_is_the_saved_files(packed, photographs, tmp_path, name):
    from srkit.cli import main

    assert main(["degrade", "bicubic", str(photographs), str(tmp_path / "lr"), "--scale", "2"]) == 0
    lr, hr = packed.images[int(name[1])]
    assert (lr == read_image(tmp_path / "lr" / name)).all()
    whole = read_image(photographs / name)
    assert (hr == whole[: hr.shape[0], : hr.shape[1]]).all()


def test_lr_files_beside_hr_are_read_and_their_sizes_checked(photographs, tmp_path):
    root = tmp_path / "set"
    (root / "LR_bicubic" / "X2").mkdir(parents=True)
    photographs.rename(root / "HR")
    for path in (root / "HR").iterdir():
        image = Image.open(path)
        size = (image.width // 2, image.height // 2)
        image.resize(size, Image.Resampling.NEAREST).save(root / "LR_bicubic" / "X2" / f"{path.stem}x2.png")
    pairs = pairs_of(root)
    assert pairs.made_by == "files"
    lr, hr = pairs.read(0)
    assert (lr == read_image(root / "LR_bicubic" / "X2" / "p0x2.png")).all()
    assert hr.shape == (48, 64, 3)
    small, large = pairs.read_window(0, 3, 5, 8)
    assert (small == lr[3:11, 5:13]).all()
    assert (large == hr[6:22, 10:26]).all()


def test_a_random_degradation_sees_one_row_of_draws_a_sample_and_is_rounded_to_8_bits(packed):
    def noisy(hr, draws):
        assert draws.shape == (len(hr), 2)
        return torch.nn.functional.avg_pool2d(hr, 2) + draws[:, :1, None, None] / 10

    degradation = RandomDegradation(noisy, 2)
    whole = draw(packed, [3], degradation=degradation, augmentations=())[0]
    halves = [
        draw(packed, [3], degradation=degradation, augmentations=(), slots=slots)[0] for slots in ((0, 3), (3, 6))
    ]
    assert torch.equal(whole[0], torch.cat([halves[0][0], halves[1][0]]))
    levels = whole[0] * 255
    assert (levels - levels.round()).abs().max() < 1e-4


def test_what_states_no_draws_is_given_streams_and_the_same_samples_in_any_share_of_the_batch(packed):
    def noisy(hr, draws):
        small = torch.nn.functional.avg_pool2d(hr, 2)
        return small + draws.of("strength").uniform().view(-1, 1, 1, 1) / 10 * draws.normal(*small.shape[1:])

    def brighter(lr, hr, draws):
        gain = 0.5 + draws.uniform().view(-1, 1, 1, 1) / 2
        return lr * gain, hr * gain

    plan = {"degradation": RandomDegradation(noisy), "augmentations": (Augmentation("augment.0.brighter", brighter),)}
    (whole,), (again,), (other,) = (draw(packed, [step], **plan) for step in (3, 3, 4))
    halves = [draw(packed, [3], slots=slots, **plan)[0] for slots in ((0, 3), (3, 6))]
    for side in (0, 1):
        assert torch.equal(whole[side], torch.cat([halves[0][side], halves[1][side]]))
        assert torch.equal(whole[side], again[side])
        assert not torch.equal(whole[side], other[side])


def test_sixteen_bits_keep_their_depth_and_eight_are_lifted(tmp_path, photographs):
    deep = (np.arange(48 * 48, dtype=np.uint16) * 27).reshape(48, 48)
    Image.fromarray(deep).save(photographs / "deep.png")
    packed = PackedPool(pairs_of(photographs), range(5), threads=1)
    assert packed.dtype == np.uint16
    images = dict(zip(["deep", "p0"], [packed.images[0][1], packed.images[1][1]], strict=True))
    assert (images["deep"][..., 0] == deep).all()
    assert (images["p0"] == read_image(photographs / "p0.png").astype(np.uint16) * 257).all()
    lr, _ = draw(packed, [0])[0]
    assert 0 <= lr.min() < lr.max() <= 1


def test_an_lr_side_of_sixteen_bits_beside_hr_of_eight_keeps_its_values_whatever_the_cache(photographs, tmp_path):
    root = tmp_path / "set"
    (root / "LR_bicubic" / "X2").mkdir(parents=True)
    photographs.rename(root / "HR")
    for path in (root / "HR").iterdir():
        image = read_image(path)
        small = image[: image.shape[0] // 2, : image.shape[1] // 2].astype(np.uint16)
        save_image(root / "LR_bicubic" / "X2" / f"{path.stem}x2.png", small * 201)
    pairs = pairs_of(root)
    assert pairs.dtype == np.uint16
    assert equal(draw(PackedPool(pairs, range(4), 1), range(3)), draw(SourcePool(pairs, range(4)), range(3)))


def test_an_image_that_cannot_be_read_is_named(photographs):
    whole = (photographs / "p2.png").read_bytes()
    (photographs / "p2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputRejected, match=r"p2\.png"):
        PackedPool(pairs_of(photographs), range(4), threads=2)


def test_lr_of_six_channels_says_what_an_image_is(photographs):
    class Six(type(pairs_of(photographs).source)):
        def lr(self, scale):
            small = Six(path=str(photographs))
            small.read = lambda index, window=None: np.zeros((24, 32, 6), np.uint8)
            return small

    pairs = Pairs(Six(path=str(photographs)), 2, degradation=None, made_by="files", files=True)
    with pytest.raises(InputRejected) as error:
        pairs.read(0)
    assert str(error.value) == (
        "p0: the dataset's LR gives uint8 [24, 32, 6], and an image here is uint8 or uint16 [24, 32, 3]"
    )


CURE = "mend or remove them, or pack the others with srkit prepare SRC DST --skip-bad"


@pytest.mark.parametrize("threads", [1, 2])
def test_all_images_that_cannot_be_read_are_named_at_once(photographs, threads):
    for name in ("p0", "p2"):
        whole = (photographs / f"{name}.png").read_bytes()
        (photographs / f"{name}.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputRejected) as error:
        PackedPool(pairs_of(photographs), range(4), threads)
    first, second, advice = str(error.value).splitlines()
    assert first.startswith(f"{photographs}/p0.png: ")
    assert second.startswith(f"{photographs}/p2.png: ")
    assert advice == f"2 of 4 images cannot be used: {CURE}"


def test_all_images_without_a_size_are_named_at_once_and_many_are_counted(photographs):
    for number in range(NAMED + 3):
        (photographs / f"x{number}.png").write_bytes(b"no picture")
    with pytest.raises(InputRejected) as error:
        large_enough(pairs_of(photographs), 8)
    lines = str(error.value).splitlines()
    assert [line.partition(": ")[0] for line in lines[:NAMED]] == [f"{photographs}/x{n}.png" for n in range(NAMED)]
    assert lines[NAMED:] == ["and 3 more", f"{NAMED + 3} of {NAMED + 7} images cannot be used: {CURE}"]


@pytest.mark.parametrize("threads", [1, 2])
def test_packing_ends_at_the_next_image_once_a_signal_has_come(photographs, threads):
    pairs, asked, stop = pairs_of(photographs), [], StopFlag()

    def heed():
        asked.append(1)
        stop.by = "SIGTERM" if len(asked) > 2 else None
        stop.heed()

    read = []
    pairs.read = lambda index, whole=pairs.read: read.append(index) or whole(index)
    with pytest.raises(Interrupted):
        make_pool(pairs, range(4), cache="memory", threads=threads, device=CPU, heed=heed)
    assert len(read) == 2


def test_images_smaller_than_a_patch_are_left_out_by_name(pairs):
    assert large_enough(pairs, 21) == ([0, 1, 3], ["p2"])


def test_rounding_to_8_bits_clamps_and_rounds_halves_up():
    values = torch.tensor([-0.5, 0.0, 0.4 / 255, 1.5 / 255, 254.6 / 255, 3.0])
    assert (rounded_to_8_bits(values) * 255).round().tolist() == [0, 0, 0, 2, 255, 255]


def test_a_batch_is_cut_into_parts_in_the_order_of_its_samples():
    lr, hr = torch.rand(5, 3, 4, 6), torch.rand(5, 3, 8, 12)
    points, draws = torch.randint(0, 96, (5, 7)), torch.rand(5, 2)
    parts = list(Batch(lr, hr, points=points, draws=draws).parts(2))
    assert [len(part.lr) for part in parts] == [3, 2]
    assert [part.size for part in parts] == [(8, 12)] * 2
    for name, whole in (("lr", lr), ("hr", hr), ("points", points), ("draws", draws)):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), whole)
    assert [(part.points, part.draws) for part in Batch(lr, hr).parts(2)] == [(None, None)] * 2
