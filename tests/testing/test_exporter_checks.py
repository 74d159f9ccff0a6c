"""Each check of an exporter can fail: one that breaks one promise, and what is said of it."""

from __future__ import annotations

import pytest

from srkit.plugin.discovery import discover
from srkit.testing.check import CheckFailed, Inapplicable, Subject
from srkit.testing.exporter import CHECKS

MODULE = '''
import json

import srkit
import torch


class Good:
    """The state dict as JSON, computed by torch.

    Args:
        half: whether the weights have 16 bits.
    """

    shift = 0.0

    def __init__(self, *, half: bool = False) -> None:
        self.half = half

    def write(self, network, example, path, *, words, way, fixed):
        weights = {name: (t.half() if self.half else t).tolist() for name, t in network.state_dict().items()}
        size = list(example.shape[-2:]) if fixed else None
        text = json.dumps({"weights": weights, "words": dict(words), "size": size})
        path.write_text(text if not self.half else text.replace(" ", ""))

    def open(self, path):
        found = json.loads(path.read_text())
        weights = {name: torch.tensor(values) for name, values in found["weights"].items()}

        def run(lr):
            x = torch.from_numpy(lr)
            x = torch.conv2d(x, weights["body.0.weight"], weights["body.0.bias"], padding=1).relu()
            x = torch.conv2d(x, weights["body.2.weight"], weights["body.2.bias"], padding=1)
            return (torch.pixel_shuffle(x, 2) + self.shift * (lr.shape[-1] % 2)).numpy()

        return srkit.Exported(run, found["words"])


class WrongAtOddSides(Good):
    shift = 0.01


class RefusesOneSize(Good):
    def write(self, network, example, path, *, words, way, fixed):
        if fixed:
            raise ValueError("sizes are free here")
        super().write(network, example, path, words=words, way=way, fixed=fixed)


class WritesElsewhere(Good):
    def write(self, network, example, path, *, words, way, fixed):
        super().write(network, example, path, words=words, way=way, fixed=fixed)
        (path.parent / "other.bin").write_text("")


class ForgetsWords(Good):
    def open(self, path):
        return super().open(path)._replace(words={"scale": "2"})


class LargeHalf(Good):
    def write(self, network, example, path, *, words, way, fixed):
        super().write(network, example, path, words=words, way=way, fixed=fixed)
        if self.half:
            path.with_suffix(".bin").write_text(" " * 1_000_000)


class OpensAnything(Good):
    def open(self, path):
        try:
            return super().open(path)
        except ValueError:
            return srkit.Exported(lambda lr: lr, {})


class ElsewhereOnly(Good):
    def open(self, path):
        raise NotImplementedError("it runs on the moon")


@srkit.hookimpl
def srkit_components():
    for cls in (Good, WrongAtOddSides, RefusesOneSize, WritesElsewhere, ForgetsWords, LargeHalf, OpensAnything):
        facts = {"suffix": ".made", "batches": True}
        yield srkit.Component("exporter", cls.__name__, f"{__name__}:{cls.__name__}", facts=facts)
    yield srkit.Component("exporter", "NoSuffix", f"{__name__}:Good", facts={"suffix": ""})
    yield srkit.Component("exporter", "ElsewhereOnly", f"{__name__}:ElsewhereOnly", facts={"suffix": ".made"})
'''


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "made.py"
    path.write_text(MODULE)
    return discover([str(path)])


def outcomes(registry, name):
    """Return what is said of each check that did not pass."""
    subject, found = Subject(registry.find("exporter", name), registry), {}
    for check in CHECKS:
        try:
            check.run(subject)
        except CheckFailed as error:
            found[check.name] = ("failed", error.what)
        except Inapplicable as error:
            found[check.name] = ("skipped", str(error))
    return found


def test_a_good_exporter_passes_all(registry):
    assert outcomes(registry, "Good") == {}


@pytest.mark.parametrize(
    ("name", "check", "found"),
    [
        ("NoSuffix", "suffix_is_stated", "its suffix is ''"),
        ("WrongAtOddSides", "sr_is_that_of_torch", "by the way '' a file is 0.01 off at 77x69"),
        (
            "RefusesOneSize",
            "one_size_is_written",
            "of two convolutions it makes no file: ValueError: sizes are free here",
        ),
        ("WritesElsewhere", "files_have_its_stem", "it wrote other.bin"),
        ("OpensAnything", "what_is_no_file_is_refused", "it opens a file of text"),
    ],
)
def test_a_broken_promise_is_found(registry, name, check, found):
    assert outcomes(registry, name) == {check: ("failed", found)}


def test_words_that_are_lost_are_named(registry):
    ((check, (outcome, found)),) = outcomes(registry, "ForgetsWords").items()
    assert (check, outcome) == ("words_are_kept", "failed")
    assert found.endswith("it gives {'srkit': None} back")


def test_a_half_that_is_no_smaller_is_found(registry):
    ((check, (outcome, found)),) = outcomes(registry, "LargeHalf").items()
    assert (check, outcome) == ("half_is_smaller", "failed")
    assert found.startswith("with half it writes 1,")


def test_what_this_machine_cannot_run_is_not_checked(registry):
    assert {value for name, value in outcomes(registry, "ElsewhereOnly").items()} == {
        ("skipped", "it runs on the moon")
    }
