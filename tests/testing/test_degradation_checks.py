"""Each check of degradations can fail: degradations that break one promise each, and what is told of them."""

from __future__ import annotations

import pytest

from srkit.testing import degradation
from srkit.testing.check import Subject
from srkit.testing.running import results

KIND = "degradation"
PLUGIN = '''
import threading

import numpy as np
import srkit
import torch
import torch.nn.functional as F


def means(hr, scale):
    """The means of scale x scale pixels."""
    height, width, _ = hr.shape
    blocks = hr.reshape(height // scale, scale, width // scale, scale, 3)
    return (blocks.mean((1, 3)) + 0.5).astype(hr.dtype)


class Meeting:
    """Where threads of a pool are at once: the first to come waits for the second."""

    def __init__(self):
        self.lock, self.both, self.came, self.images = threading.Lock(), threading.Event(), 0, []

    def of_two(self):
        if not threading.current_thread().name.startswith("ThreadPoolExecutor"):
            return False
        with self.lock:
            self.came += 1
            if self.came == 2:
                self.both.set()
        return self.both.wait()

    def second(self, image):
        """Return what the second thread of a pool came with; outside of a pool, the image itself."""
        if not threading.current_thread().name.startswith("ThreadPoolExecutor"):
            return image
        with self.lock:
            self.images.append(image)
        self.of_two()
        return self.images[1]


class Means:
    def __init__(self, *, scale: int):
        self.scale = scale
        self.meeting = Meeting()

    def __call__(self, hr):
        return means(hr, self.scale)


class Turned(Means):
    def __call__(self, hr):
        return super().__call__(hr).transpose(1, 0, 2)


class Floats(Means):
    def __call__(self, hr):
        return super().__call__(hr) / 255


class Tensors(Means):
    def __call__(self, hr):
        return torch.from_numpy(super().__call__(hr))


class OddScale(Means):
    def __init__(self, *, scale: int):
        if scale == 3:
            raise ValueError("scale must be a power of two, not 3")
        super().__init__(scale=scale)


class Writes(Means):
    def __call__(self, hr):
        hr[0] = 0
        return super().__call__(hr)


class Seeds(Means):
    def __call__(self, hr):
        np.random.seed(1)
        return super().__call__(hr)


class ByChance(Means):
    def __call__(self, hr):
        return super().__call__(hr) + hr.dtype.type(np.random.get_state()[1][0] % 2)


class Shared(Means):
    def __call__(self, hr):
        return means(self.meeting.second(hr), self.scale)


class View(Means):
    def __call__(self, hr):
        return hr[:: self.scale, :: self.scale]


class ReadOnly(Means):
    def __call__(self, hr):
        lr = super().__call__(hr)
        lr.flags.writeable = False
        return lr


class Clips(Means):
    def __call__(self, hr):
        return super().__call__(hr).clip(0, 255)


class EightBits(Means):
    error = TypeError("no table for these")

    def __call__(self, hr):
        if hr.dtype != np.uint8:
            raise self.error
        return super().__call__(hr)


class Silent(EightBits):
    error = ValueError()


class Refuses(EightBits):
    error = ValueError("images must have 8 bits")


class Random:
    """The means of scale x scale pixels, brighter or darker by up to a tenth."""

    def __init__(self, *, scale: int):
        self.scale = scale

    def __call__(self, hr, draws):
        return F.avg_pool2d(hr, self.scale) + self.of(hr, draws)

    def of(self, hr, draws):
        return (draws[:, 0].view(-1, 1, 1, 1) - 0.5) / 5


class Two(Random):
    def of(self, hr, draws):
        return super().of(hr, draws) * draws[:, 1].view(-1, 1, 1, 1)


class Double(Random):
    def of(self, hr, draws):
        return super().of(hr, draws).double()


class Learns(Random):
    def of(self, hr, draws):
        return super().of(hr, draws) * torch.nn.Parameter(torch.ones(1))


class Lists(Random):
    def __call__(self, hr, draws):
        return [super().__call__(hr, draws)]


class WritesDraws(Random):
    def of(self, hr, draws):
        return super().of(hr, draws.clamp_(max=0.6))


class Draws(Random):
    def of(self, hr, draws):
        torch.rand(1)
        return super().of(hr, draws)


class RandomByChance(Random):
    def of(self, hr, draws):
        return super().of(hr, draws) + float(np.random.get_state()[1][0] % 2)


class Levels(Random):
    def __call__(self, hr, draws):
        return 255 * super().__call__(hr, draws)


class Infinite(Random):
    def of(self, hr, draws):
        return super().of(hr, draws) / (0 * draws.view(-1, 1, 1, 1))


class Logarithm(Random):
    def of(self, hr, draws):
        return super().of(hr, draws.log() / 10)


class Picks(Random):
    def of(self, hr, draws):
        return torch.tensor([-0.1, 0.0, 0.1])[(draws * 3).long()].view(-1, 1, 1, 1)


class WithTheMean(Random):
    def of(self, hr, draws):
        return super().of(hr, draws + draws.mean(dim=0))


class Ignores(Random):
    def of(self, hr, draws):
        return 0


class ByLayout(Random):
    def of(self, hr, draws):
        return super().of(hr, draws) + (0.5 if hr.stride(1) == 1 else 0)


class Seldom(Random):
    def of(self, hr, draws):
        return super().of(hr, draws) * (draws[:, :1, None, None] < 0.02)


class OfStreams(Random):
    def of(self, hr, draws):
        return super().of(hr, draws.of("strength").uniform()) + draws.normal(*hr.shape[1:2], 1, 1) / 100


class OfATensor(Random):
    pass


class Sized:
    """Whole images to any size, and batches."""

    def __call__(self, hr, size):
        lr = self.batch(torch.from_numpy(hr).permute(2, 0, 1)[None].float(), size)[0].permute(1, 2, 0)
        return (lr + 0.5).floor().numpy().astype(hr.dtype)

    def batch(self, hr, size):
        return F.interpolate(hr, size=size, mode="bilinear", antialias=True)


class Unsized(Sized):
    def batch(self, hr, size):
        return super().batch(hr, [large // round(large / side) for large, side in zip(hr.shape[2:], size)])


class OtherBatch(Sized):
    def __call__(self, hr, size):
        return 255 - super().__call__(hr, size)


class RandomSized(Random):
    def __init__(self):
        pass

    def __call__(self, hr, size, draws):
        return F.interpolate(hr, size=size, mode="bilinear", antialias=True) * (1 - draws[:, :1, None, None] / 2)


class RandomUnsized(RandomSized):
    def __call__(self, hr, size, draws):
        return super().__call__(hr, [hr.shape[2] // 2, hr.shape[3] // 2] if size[0] % 2 else size, draws)


RANDOM = {"deterministic": False, "draws": 1}
FACTS = {"OfStreams": {"deterministic": False}, "OfATensor": {"deterministic": False}}
FACTS |= {"MoreArguments": {}, "Batchless": RANDOM, "SizedUnstated": {}}
MoreArguments, Batchless, SizedUnstated = Random, Means, RandomSized


@srkit.hookimpl
def srkit_components():
    found = {name: value for name, value in globals().items() if isinstance(value, type)}
    for name, value in found.items():
        facts = FACTS.get(name, RANDOM if issubclass(value, Random) else {})
        yield srkit.Component("degradation", name, f"{__name__}:{name}", summary="smaller", facts=facts)
'''

IN_PLACE = "take no in-place operation (*=, add_, out=) on what it is given"
FIXED = 'take draws, as one with facts={"deterministic": False} does; for a fixed pattern, np.random.default_rng(0)'
DRAWN = "compute with `draws` alone, and keep nothing from call to call"
DEEP = "scale by np.iinfo(hr.dtype).max, or raise ValueError that says that images of 8 bits are needed"
NOT_ZERO = "keep away from a logarithm of zero or a division by it: draws.clamp(min=1e-6)"
BROKEN = {
    "Writes": (degradation.hr_is_left_alone, "it changes HR", IN_PLACE),
    "WritesDraws": (degradation.hr_is_left_alone, "it changes the draws", IN_PLACE),
    "Seeds": (
        degradation.chance_is_left_alone,
        "it draws from the global random generator of numpy, or seeds it",
        FIXED,
    ),
    "Draws": (
        degradation.chance_is_left_alone,
        "it draws from the global random generator of torch, or seeds it",
        DRAWN,
    ),
    "ByChance": (degradation.same_image_gives_same_lr, "the same image gives LR that differs by 1", FIXED),
    "RandomByChance": (degradation.same_image_gives_same_lr, "the same image gives LR that differs by 1", DRAWN),
    "Shared": (
        degradation.threads_do_not_matter,
        "called from several threads at once, it gives another LR",
        "keep nothing of a call in self or a global",
    ),
    "View": (
        degradation.lr_has_memory_of_its_own,
        "LR is a view of HR",
        "return a copy: hr[::scale, ::scale].copy()",
    ),
    "ReadOnly": (
        degradation.lr_has_memory_of_its_own,
        "LR cannot be written to",
        "return a copy: np.array(...) where it was np.asarray(...)",
    ),
    "Clips": (
        degradation.sixteen_bits_work_or_are_refused,
        "of HR of 16 bits it makes another picture: 128 of 255 levels off in the mean",
        DEEP,
    ),
    "EightBits": (
        degradation.sixteen_bits_work_or_are_refused,
        "HR of 16 bits raises TypeError: no table for these",
        DEEP,
    ),
    "Silent": (
        degradation.sixteen_bits_work_or_are_refused,
        "HR of 16 bits raises a ValueError without a message",
        "say that images of 8 bits are needed",
    ),
    "Levels": (
        degradation.values_are_of_the_range,
        "its LR has values from 47.8 to 206",
        "return LR in the range of HR, 0..1",
    ),
    "Logarithm": (degradation.extreme_draws_work, "draws of 0 give LR that is not finite", NOT_ZERO),
    "Picks": (
        degradation.extreme_draws_work,
        "draws of 1 raise IndexError: index 3 is out of bounds for dimension 0 with size 3",
        "limit what is made of them: (draws * count).long().clamp(max=count - 1)",
    ),
    "WithTheMean": (
        degradation.batch_mates_do_not_matter,
        "a sample's LR changes by 0.031 with its batch",
        "take row i of what is drawn for image i alone, and no mean over the batch",
    ),
    "OtherBatch": (
        degradation.any_size_is_made,
        "LR of a batch is off by 123 of 255 levels from that of the whole image",
        "let both do the same, in 0..1 and in 0..255",
    ),
    "Unsized": (
        degradation.any_size_is_made,
        "asked for LR of [19, 23] it gives [16, 20]",
        "resize to the size, and not by a scale",
    ),
    "RandomUnsized": (
        degradation.any_size_is_made,
        "asked for LR of [19, 23] it gives [24, 31]",
        "resize to the size, and not by a scale",
    ),
    "Ignores": (
        degradation.draws_matter,
        "whatever the draws, its LR is the same",
        "compute with `draws`; or leave out deterministic=False and take a whole image at rest",
    ),
    "ByLayout": (
        degradation.memory_layout_does_not_matter,
        "in channels_last its LR differs by 0.5",
        "use reshape or permute, and no as_strided that takes a layout for granted",
    ),
}
WHICH = "state deterministic=False of one that takes a batch and draws, and of no other"
NOT_CALLED = {
    "OddScale": (
        "it has no scale 3: scale must be a power of two, not 3",
        'state its scales: facts={"scales": (2, 4)}',
    ),
    "MoreArguments": ("it cannot be called with hr: missing a required argument: 'draws'", WHICH),
    "SizedUnstated": ("it cannot be called with hr and size: missing a required argument: 'draws'", WHICH),
    "Batchless": ("it cannot be called with hr and draws: too many positional arguments", WHICH),
    "OfATensor": ("it needs 1 draws and is given Draws", 'state them: facts={"draws": 1}'),
    "Two": ("it needs 2 draws and is given 1", 'state them: facts={"draws": 2}'),
    "Tensors": ("it returns a Tensor", "return an image at rest, a numpy array"),
    "Lists": ("it returns a list", "return LR alone, a tensor"),
    "Floats": ("of uint8 it makes float64", "round and clip, then return lr.astype(hr.dtype)"),
    "Double": ("it returns float64", "return float32"),
    "Learns": ("its LR asks for a gradient", "hold what is constant in buffers or tensors, not in parameters"),
    "Turned": (
        "at scale 2, HR [48, 62, 3] becomes [31, 24, 3], not [24, 31, 3]",
        "divide height and width by the scale, of which they are multiples, and keep the order of the axes",
    ),
}


def outcomes(registry, name):
    return {result.check.name: result for result in results(Subject(registry.find("degradation", name), registry))}


@pytest.mark.parametrize("name", ["Means", "Refuses", "Random", "Seldom", "OfStreams", "Sized", "RandomSized"])
def test_a_degradation_that_keeps_all_promises_passes(failures, name):
    assert failures(name) == {}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_fails_its_own_check_alone(failures, name):
    check, found, instead = BROKEN[name]
    assert failures(name) == {check.__name__: (found, instead)}


@pytest.mark.parametrize("name", NOT_CALLED)
def test_a_degradation_that_gives_no_lr_fails_the_first_check(failures, name):
    assert failures(name)["gives_lr"] == NOT_CALLED[name]


def test_lr_that_is_not_finite_is_said_to_be_so(failures):
    assert failures("Infinite")["values_are_of_the_range"] == (
        "its LR is not finite",
        "look at divisions by zero, and at logarithms of it",
    )


def test_promises_of_the_other_form_are_skipped(registry):
    skipped = {
        name: {check: result.found for check, result in outcomes(registry, name).items() if result.outcome == "skipped"}
        for name in ("Means", "Random")
    }
    for of_each in skipped.values():
        del of_each["importing_is_light"]
        assert of_each.pop("any_size_is_made") == "its call does not declare `size`"
    assert skipped["Means"] == dict.fromkeys(
        [
            "values_are_of_the_range",
            "extreme_draws_work",
            "batch_mates_do_not_matter",
            "draws_matter",
            "memory_layout_does_not_matter",
        ],
        "it is deterministic",
    )
    assert skipped["Random"] == {
        "threads_do_not_matter": "it is random: called from one thread",
        "lr_has_memory_of_its_own": "it is random: its LR is rounded into new memory",
        "sixteen_bits_work_or_are_refused": "it is random: what it is given are floats",
    }


def test_each_check_of_degradations_is_seen_to_fail():
    seen = {degradation.gives_lr, *(check for check, *_ in BROKEN.values())}
    assert {check.run for check in degradation.CHECKS} == seen
