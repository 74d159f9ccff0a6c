"""Each check of networks can fail: a network that breaks one promise, and what is told of it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from srkit.testing import architecture
from srkit.testing.check import Subject
from srkit.testing.running import results

KIND = "architecture"
PLUGIN = '''
import random

import srkit
import torch
import torch.nn.functional as F
from torch import nn


class Good(nn.Module):
    """Keeps all promises."""

    def __init__(self, *, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.tail = nn.Conv2d(8, 3 * scale**2, 3, padding=1)

    def features(self, x):
        return self.head(x).relu()

    def forward(self, x):
        return F.pixel_shuffle(self.tail(self.features(x)), self.scale)


class Pair(Good):
    def forward(self, x):
        return (super().forward(x), x) if self.training else super().forward(x)


class Half(Good):
    def forward(self, x):
        return super().forward(x).half()


class Infinite(Good):
    def forward(self, x):
        return super().forward(x) / 0


class Raises(Good):
    def forward(self, x):
        return self.tale(x)


class Narrow(Good):
    def forward(self, x):
        return super().forward(x[..., 1:-1] if x.shape[-1] > 2 else x)


class Twice(Good):
    def __init__(self, *, scale: int) -> None:
        if scale != 2:
            raise ValueError(f"there is scale 2 alone, not {scale}")
        super().__init__(scale=scale)


class Sided(Good):
    def forward(self, x):
        if min(x.shape[2:]) < 4:
            raise ValueError("too small")
        return super().forward(x)


class MeanOfMany(Good):
    def forward(self, x):
        return super().forward(x) / (x.shape[2] - 1)


class Unused(Good):
    def __init__(self, *, scale: int) -> None:
        super().__init__(scale=scale)
        self.spare = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(3))


class InPlace(Good):
    def features(self, x):
        x.mul_(2).sub_(1)
        return super().features(x)


class Batch(Good):
    def features(self, x):
        return super().features(x - x.mean())


class Dropout(Good):
    def features(self, x):
        return F.dropout(super().features(x), 0.5)


class OwnChance(Good):
    def __init__(self, *, scale: int) -> None:
        super().__init__(scale=scale)
        nn.init.constant_(self.head.bias, random.Random().random())


class Forgets(Good):
    def __init__(self, *, scale: int) -> None:
        super().__init__(scale=scale)
        self.noise = torch.rand(3, 1, 1)

    def features(self, x):
        return super().features(x + self.noise)


class Pooled(Good):
    def __init__(self, *, scale: int) -> None:
        super().__init__(scale=scale)
        self.attend = nn.Conv2d(8, 8, 1)
        nn.init.zeros_(self.attend.weight)

    def features(self, x):
        x = super().features(x)
        return x * self.attend(x.mean((2, 3), keepdim=True)).sigmoid()


class Strided(Good):
    def features(self, x):
        x = super().features(x)
        return x if x.is_contiguous() else x * 1.1


class Overflows(Good):
    def features(self, x):
        x = super().features(x)
        return x if x.dtype == torch.float32 else x * 1e39


class Compiled(Good):
    def features(self, x):
        x = super().features(x)
        return x * 1.1 if torch.compiler.is_compiling() else x


class Eights(Good):
    def forward(self, x):
        assert x.shape[2] % 8 == 0 and x.shape[3] % 8 == 0 and min(x.shape[2:]) >= 16
        return super().forward(x)


class Unstated(Good):
    def forward(self, x):
        return super().forward(x.view(len(x), 3, x.shape[2] // 4, 4, x.shape[3] // 4, 4).reshape(x.shape))


ONLY_2 = {"tileable": True, "scales": (2,)}
LOCAL = {"tileable": True}

class Fifteen(Good):
    def forward(self, x):
        if min(x.shape[2:]) < 15:
            raise ValueError("too low")
        return super().forward(x)


class Sixteen(Good):
    def forward(self, x):
        if min(x.shape[2:]) < 11 or x.shape[2] % 8 or x.shape[3] % 8:
            raise ValueError("too odd")
        return super().forward(x)


class Asserts(Good):
    def __init__(self, *, scale: int) -> None:
        assert scale in (2, 4)
        super().__init__(scale=scale)


class Grey(Good):
    def forward(self, x):
        return super().forward(x).mean(1, keepdim=True)


class Lacks(Good):
    def __init__(self, *, scale: int) -> None:
        import einops_that_is_not_there.layers


class LacksLater(Good):
    def forward(self, x):
        import einops_that_is_not_there.layers


class Sampling(Good):
    def forward(self, x):
        return super().forward(x) + 0.1 * torch.randn_like(x[:, :1, :1, :1])

class AnySize(nn.Module):
    """Serves any scale, whole or at points."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def whole(self, x, size):
        return self.conv(F.interpolate(x, size, mode="bilinear"))

    def forward(self, x, size, points=None):
        sr = self.whole(x, size)
        if points is None:
            return sr
        return sr.flatten(2).gather(2, points[:, None].expand(-1, 3, -1))[..., None]


class RoundedSize(AnySize):
    def whole(self, x, size):
        return self.conv(F.interpolate(x, scale_factor=round(size[0] / x.shape[2]), mode="bilinear"))


class Levels(Good):
    """A pyramid that does not say which scales it serves."""

    def __init__(self, *, scale: int) -> None:
        super().__init__(scale=2)
        self.doublings = scale // 2

    def forward(self, x, size=None):
        for _ in range(self.doublings):
            x = super().forward(x)
            if size is not None and x.shape[2] == size[0]:
                break
        return x


class RoundedPlaces(AnySize):
    """The nearest pixel of LR, found by coordinates in -1..1, which differ in a tile."""

    def whole(self, x, size):
        rows, columns = ((torch.arange(side) + 0.5) / side * 2 - 1 for side in size)
        places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).expand(len(x), -1, -1, -1)
        return F.grid_sample(self.conv(x), places, mode="nearest", align_corners=False)


class OtherPoints(AnySize):
    def forward(self, x, size, points=None):
        return super().forward(x, size, None if points is None else points.flip(1))


class FlatPoints(AnySize):
    def forward(self, x, size, points=None):
        return super().forward(x, size) if points is None else super().forward(x, size, points)[..., 0]


import copy


class WithForm(Good):
    """Its form for inference is a copy."""

    def for_inference(self):
        return copy.deepcopy(self)


class OtherForm(WithForm):
    """Forgets a ReLU."""

    def for_inference(self):
        return nn.Sequential(self.head, self.tail, nn.PixelShuffle(self.scale))


class SpoilingForm(WithForm):
    """Folds the weights themselves."""

    def for_inference(self):
        form = copy.deepcopy(self)
        self.tail.weight.data.mul_(2)
        return form


class CallableForm(WithForm):
    def for_inference(self):
        return self.forward


class FormOfOneStage(WithForm):
    """Its form forgets that there are stages."""

    def stages(self):
        return [srkit.Stage(self.forward, 2, self.scale)]

    def for_inference(self):
        return nn.Sequential(self.head, nn.ReLU(), self.tail, nn.PixelShuffle(self.scale))


@srkit.hookimpl
def srkit_components():
    for cls in (WithForm, OtherForm, SpoilingForm, CallableForm, FormOfOneStage):
        yield srkit.Component("architecture", cls.__name__, f"{__name__}:{cls.__name__}", summary="one", facts=LOCAL)
    for cls in (AnySize, RoundedSize, RoundedPlaces, OtherPoints, FlatPoints):
        yield srkit.Component("architecture", cls.__name__, f"{__name__}:{cls.__name__}", summary="one", facts=LOCAL)
    for cls, facts in (
        (Good, LOCAL), (Pair, LOCAL), (Half, LOCAL), (Infinite, LOCAL), (Raises, LOCAL), (Narrow, LOCAL),
        (Twice, LOCAL), (Unstated, LOCAL),
        (Sided, LOCAL), (MeanOfMany, ONLY_2), (Unused, LOCAL), (InPlace, LOCAL), (Batch, {"tileable": False}),
        (Dropout, {"tileable": False}), (OwnChance, LOCAL), (Forgets, LOCAL), (Strided, LOCAL), (Overflows, LOCAL),
        (Compiled, LOCAL),
        (Fifteen, LOCAL),
        (Sixteen, LOCAL),
        (Grey, LOCAL),
        (Asserts, LOCAL),
        (Lacks, LOCAL),
        (LacksLater, LOCAL),
        (Levels, LOCAL),
    ):
        yield srkit.Component("architecture", cls.__name__, f"{__name__}:{cls.__name__}", summary="one", facts=facts)
    stated = {**LOCAL, "deviations": {"returns_one_tensor": "the paper returns two"}}
    yield srkit.Component("architecture", "Pair_stated", f"{__name__}:Pair", summary="one", facts=stated)
    stated = {**LOCAL, "deviations": {"same_image_gives_same_output": "it samples"}}
    yield srkit.Component("architecture", "Dropout_stated", f"{__name__}:Sampling", summary="one", facts=stated)
    for name in ("Good", "AnySize"):
        fits = {**LOCAL, "weights_fit_any_scale": True}
        yield srkit.Component("architecture", f"{name}_fits", f"{__name__}:{name}", summary="one", facts=fits)
    eights = {**LOCAL, "min_size": 16, "multiple_of": 8}
    yield srkit.Component("architecture", "Eights", f"{__name__}:Eights", summary="one", facts=eights)
    for name, facts in (("unsaid", {}), ("local", LOCAL), ("pooled", {"tileable": False})):
        yield srkit.Component("architecture", f"Pooled_{name}", f"{__name__}:Pooled", summary="one", facts=facts)
    for name, facts in (("unsaid", {}), ("pooled", {"tileable": False})):
        yield srkit.Component("architecture", f"Good_{name}", f"{__name__}:Good", summary="one", facts=facts)
'''


@pytest.mark.parametrize("name", ["Good", "WithForm", "Eights", "Pooled_pooled", "AnySize", "AnySize_fits"])
def test_a_network_that_keeps_all_promises_passes(failures, name):
    assert failures(name) == {}


ALONE = [
    (
        "SpoilingForm",
        "form_for_inference_is_the_network",
        "for_inference() changes the network",
        "fold copies of its weights",
    ),
    (
        "CallableForm",
        "form_for_inference_is_the_network",
        "for_inference() returns a method",
        "return a torch.nn.Module",
    ),
    (
        "FormOfOneStage",
        "form_for_inference_is_the_network",
        "it offers stages, and its form for inference does not",
        "give that one stages(), too",
    ),
    (
        "Unstated",
        "returns_one_tensor",
        "LR of 13x17 fails: RuntimeError: shape '[2, 3, 3, 4, 4, 4]' is invalid for input of size 1326 "
        "(bad_architecture.py:144)",
        'pad within the network, or state what it takes: facts={"multiple_of": 4}',
    ),
    (
        "Pair",
        "returns_one_tensor",
        "it returns a tuple in training",
        "return SR alone, or (SR, {name: tensor}) in training; a subclass's forward can pick it",
    ),
    ("Half", "returns_one_tensor", "it returns float16", "return float32"),
    (
        "Infinite",
        "returns_one_tensor",
        "its output is not finite",
        "look at the first weights, and at divisions by zero",
    ),
    (
        "Twice",
        "output_is_scaled",
        "it has no scale 3: there is scale 2 alone, not 3",
        'state its scales: facts={"scales": (2, 4)}',
    ),
    (
        "Sided",
        "smallest_image_works",
        "LR of 1x1 fails: ValueError: too small",
        'pad within the network, or state what it takes: facts={"min_size": 4}',
    ),
    (
        "RoundedSize",
        "any_size_is_made",
        "asked for [17, 22], LR [2, 3, 13, 17] becomes [2, 3, 13, 17]",
        "make SR of the size that is asked for, or state what it serves: facts={'scale_range': (1.0, 4.0)}",
    ),
    (
        "Good_fits",
        "weights_fit_as_stated",
        "weights_fit_any_scale is stated, and at scales 2 and 3 tail.weight is [12, 8, 3, 3] and [27, 8, 3, 3]",
        "leave out the fact",
    ),
    (
        "FlatPoints",
        "any_size_is_made",
        "40 points become [2, 3, 40], not [2, 3, 40, 1]",
        "return [n, 3, q, 1], in their order",
    ),
    (
        "Unused",
        "every_parameter_learns",
        "no gradient reaches spare.0.weight, spare.0.bias, spare.1.weight and 3 more",
        "use them in forward, or leave them out; a detach() or no_grad() on the way stops it, too",
    ),
    (
        "OwnChance",
        "same_seed_gives_same_weights",
        "with the same seed, head.bias is another one each time",
        "draw first weights from torch's global generator alone",
    ),
    (
        "Pooled_unsaid",
        "tiles_are_as_stated",
        "it does not state whether tiles make up the whole image; they do not",
        'state it: facts={"tileable": False}',
    ),
    (
        "Good_unsaid",
        "tiles_are_as_stated",
        "it does not state whether tiles make up the whole image; they do",
        'state it: facts={"tileable": True}',
    ),
    (
        "Good_pooled",
        "tiles_are_as_stated",
        "tileable=False is stated, and a window's output is the whole's",
        "state tileable=True",
    ),
    (
        "Overflows",
        "bfloat16_is_finite",
        "under autocast to bfloat16 its output is not finite",
        "keep what overflows in float32: x.float()",
    ),
    (
        "Raises",
        "returns_one_tensor",
        "it raises AttributeError: 'Raises' object has no attribute 'tale' (bad_architecture.py:43)",
        "mend it there",
    ),
]


@pytest.mark.parametrize(("name", "check", "found", "instead"), ALONE)
def test_a_network_that_breaks_a_promise_is_told_so(registry, failures, name, check, found, instead, monkeypatch):
    monkeypatch.chdir(Path(inspect.getfile(registry.find("architecture", name).component.load())).parent)
    assert failures(name) == {check: (found, instead)}


SEVERAL = [
    (
        "InPlace",
        "input_is_left_alone",
        "it changes its input",
        "take no in-place operation (relu_, +=) on the input itself",
    ),
    (
        "MeanOfMany",
        "smallest_image_works",
        "the output for LR of 1x1 is not finite",
        "look at what is divided by a number of pixels",
    ),
    (
        "Levels",
        "any_size_is_made",
        "asked for [13, 17], LR [2, 3, 13, 17] becomes [2, 3, 26, 34]",
        "make SR of the size that is asked for; or, where it serves some scales alone, let each network say which are "
        "its own: made for scale 2, self.scales = (2,)",
    ),
    (
        "Levels",
        "output_is_scaled",
        "at scale 3, LR [1, 3, 13, 17] becomes [1, 3, 26, 34], not [1, 3, 39, 51]",
        "enlarge by `scale`, and not by 2; or raise a ValueError for a scale that it cannot be made for, and state "
        'those that it can: facts={"scales": (2, 4)}',
    ),
    (
        "Narrow",
        "output_is_scaled",
        "at scale 2, LR [1, 3, 13, 17] becomes [1, 3, 26, 30], not [1, 3, 26, 34]",
        "let every layer keep the size but those that enlarge; padding=kernel_size // 2 does",
    ),
]


@pytest.mark.parametrize(("name", "check", "found", "instead"), SEVERAL)
def test_a_network_that_breaks_several_promises_is_told_each(failures, name, check, found, instead):
    assert failures(name)[check] == (found, instead)


OFF_TILE = (
    "means over the image do that, positions in it, windows without a multiple_of, and rounded places of pixels "
    "(count them in whole numbers)"
)
MEASURED = [
    (
        "OtherForm",
        "form_for_inference_is_the_network",
        "of 2 images its form for inference makes values that differ by # in float64",
        "fold weights as they are, and pad as the network does",
    ),
    (
        "Batch",
        "batch_mates_do_not_matter",
        "an image's output changes by # with its batch",
        "take means over each image alone (dim=(2, 3)), and no statistics of the batch in eval()",
    ),
    (
        "Dropout",
        "same_image_gives_same_output",
        "the same image gives outputs that differ by #",
        "draw random numbers only where self.training",
    ),
    (
        "Forgets",
        "weights_survive_a_file",
        "read again from its file, its output differs by #",
        "hold what is learnt in parameters and registered buffers, and random numbers that it keeps, too",
    ),
    (
        "OtherPoints",
        "any_size_is_made",
        "at points it gives values that differ by # from those pixels of all of SR",
        "a point is row * width + column, of SR's size",
    ),
    (
        "Strided",
        "channels_last_is_the_same",
        "in channels_last its output differs by #",
        "use reshape or permute, and no view or as_strided that takes a layout for granted",
    ),
    (
        "Pooled_local",
        "tiles_are_as_stated",
        "tileable is stated, and a window's output differs from the whole's by # of its largest value",
        f"state tileable=False; {OFF_TILE}",
    ),
    (
        "RoundedPlaces",
        "tiles_are_as_stated",
        "tileable is stated, and a window's output differs from the whole's by # of its largest value",
        f"state tileable=False; {OFF_TILE}",
    ),
]


@pytest.mark.parametrize(("name", "check", "found", "instead"), MEASURED)
def test_how_far_a_network_is_off_is_told(failures, name, check, found, instead):
    told, do = failures(name)[check]
    before, after = found.split("#")
    assert told.startswith(before)
    assert told.endswith(after)
    assert 0 < float(told.removeprefix(before).removesuffix(after)) < 10
    assert do == instead


def test_each_check_of_networks_is_seen_to_fail():
    seen = {check for _, check, *_ in [*ALONE, *SEVERAL, *MEASURED]} | {"compiles"}
    assert {check.name for check in architecture.CHECKS} == seen


@pytest.mark.slow
def test_a_network_that_is_another_one_compiled_is_told_so(failures):
    told = failures("Compiled", slow=True)
    assert list(told) == ["compiles"]
    assert told["compiles"][0].startswith("under torch.compile its output differs by ")
    assert failures("Good", slow=True) == {}


@pytest.mark.parametrize(
    ("name", "check", "found", "instead"),
    [
        (
            "Fifteen",
            "returns_one_tensor",
            "LR of 13x17 fails: ValueError: too low (bad_architecture.py:{})",
            'pad within the network, or state what it takes: facts={"min_size": 15}',
        ),
        (
            "Sixteen",
            "returns_one_tensor",
            "LR of 13x17 fails: ValueError: too odd (bad_architecture.py:{})",
            'pad within the network, or state what it takes: facts={"min_size": 16, "multiple_of": 8}',
        ),
        (
            "Grey",
            "output_is_scaled",
            "SR has 1 channel, and images here have 3, red, green and blue",
            "let the last layer give 3; a network of luma alone is another one, made and trained for 3 channels",
        ),
        (
            "Asserts",
            "output_is_scaled",
            "it has no scale 3: AssertionError: assert scale in (2, 4) (bad_architecture.py:{})",
            'state its scales: facts={"scales": (2, 4)}',
        ),
        (
            "Lacks",
            "is_made_with_defaults",
            "it needs the package 'einops_that_is_not_there', which is not installed",
            "install what gives 'einops_that_is_not_there', and name it in the dependencies of the plugin",
        ),
        (
            "LacksLater",
            "returns_one_tensor",
            "it needs the package 'einops_that_is_not_there', which is not installed",
            "install what gives 'einops_that_is_not_there', and name it in the dependencies of the plugin",
        ),
    ],
)
def test_the_advice_on_a_network_is_true_of_it(failures, name, check, found, instead):
    lines = {text.strip(): number for number, text in enumerate(PLUGIN.splitlines(), 1)}
    place = {
        "Asserts": "assert scale in (2, 4)",
        "Fifteen": 'raise ValueError("too low")',
        "Sixteen": 'raise ValueError("too odd")',
    }.get(name, "")
    what, how = failures(name)[check]
    found = found.format(lines.get(place, 0))
    assert (re.sub(r"\(/.*/", "(", what), how) == (found, instead)


REFUSED = "mend that; these cannot be deviated from: returns_one_tensor, output_is_scaled"


def test_what_training_would_refuse_is_no_deviation(failures):
    assert failures("Pair_stated") == {
        "deviations_are_checks": (
            "it states the deviation 'returns_one_tensor', and training refuses what does not pass it",
            REFUSED,
        ),
        "returns_one_tensor": (
            "it returns a tuple in training",
            "return SR alone, or (SR, {name: tensor}) in training; a subclass's forward can pick it",
        ),
    }


def test_a_stated_deviation_lets_no_later_check_crash(registry):
    subject = Subject(registry.find("architecture", "Dropout_stated"), registry)
    found = {result.check.name: (result.outcome, result.found) for result in results(subject)}
    assert found["same_image_gives_same_output"][0] == "declared"
    assert found["batch_mates_do_not_matter"] == ("skipped", "not run: same_image_gives_same_output failed")
    assert not [name for name, (outcome, _) in found.items() if outcome == "failed"]
