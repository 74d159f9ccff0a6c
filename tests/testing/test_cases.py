"""The contract as pytest's cases, in a suite of a plugin's author."""

from __future__ import annotations

import re

import pytest

from srkit.errors import ComponentError, UsageError
from srkit.testing import parametrize_components
from tests import forking

NETWORK = '''
import srkit
import torch
from torch import nn


class Tiny(nn.Module):
    """One convolution.

    Args:
        kernel: the side of the kernel.
    """

    def __init__(self, *, scale: int, kernel: int = 3) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3 * scale**2, kernel, padding=kernel // 2)
        self.unused = nn.Conv2d(3, 3, 1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x):
        return self.shuffle(self.body(x))


@srkit.hookimpl
def srkit_components():
    yield srkit.Component(
        "architecture", "tiny", f"{__name__}:Tiny", summary="one convolution", facts={"tileable": True}
    )
'''
TESTS = """
from srkit.testing import parametrize_components

@parametrize_components("tiny", plugins=["tiny.py"], ARGUMENTS)
def test_contract(check):
    check(SETTINGS)
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(arguments="", settings="", network=NETWORK, only="", options=()):
        (tmp_path / "tiny.py").write_text(network)
        (tmp_path / "test_tiny.py").write_text(TESTS.replace("ARGUMENTS", arguments).replace("SETTINGS", settings))
        words = ["-v", "-W", "error", "-p", "no:cacheprovider", "--rootdir", ".", "-k", only, *options]
        done = forking.run("-m", "pytest", *words)
        return done.returncode, done.stdout

    return run


def outcomes(text):
    """The outcome of each case by its name: the lines that end in progress, and no line of pytest's summary."""
    found = re.findall(r"^\S+::test_contract\[(\S+)\] ([A-Z]+).* \[ *\d+%\]$", text, flags=re.MULTILINE)
    assert found, text
    return dict(found)


def test_each_check_is_a_case_of_its_own_name(suite):
    code, text = suite()
    found = outcomes(text)
    assert code == 1
    assert found["architecture-tiny-output_is_scaled"] == "PASSED"
    assert found["architecture-tiny-importing_is_light"] == "SKIPPED"
    assert [name for name, outcome in found.items() if outcome == "FAILED"] == [
        "architecture-tiny-every_parameter_learns"
    ]
    assert "CheckFailed: no gradient reaches unused.weight, unused.bias; use them in forward, or leave them out" in text


@pytest.mark.parametrize("name", ["every_parameter_learns", "architecture-tiny-every_parameter_learns"])
def test_a_failure_that_is_expected_is_none(suite, name):
    code, text = suite(f'expected_failures={{"{name}": "the paper has them, too"}}', only="learns")
    assert code == 0
    assert outcomes(text)["architecture-tiny-every_parameter_learns"] == "XFAIL"


def test_an_expected_failure_that_passes_is_a_failure(suite):
    code, text = suite(
        'expected_failures={"output_is_scaled": "it is not", "every_parameter_learns": "so it is"}', only="scaled"
    )
    assert code == 1
    assert "[XPASS(strict)] it is not" in text


def test_a_deviation_that_the_component_states_is_expected(suite):
    stated = '"tileable": True, "deviations": {"every_parameter_learns": "the paper has them, too"}'
    code, text = suite(network=NETWORK.replace('"tileable": True', stated), only="learns")
    assert code == 0
    assert outcomes(text)["architecture-tiny-every_parameter_learns"] == "XFAIL"


def test_a_case_that_needs_what_is_deviated_from_is_not_run(suite):
    stated = '"tileable": True, "deviations": {"same_image_gives_same_output": "it samples"}'
    code, text = suite(network=NETWORK.replace('"tileable": True', stated), only="same_image or mates or compiles")
    found = outcomes(text)
    assert code == 1
    assert found["architecture-tiny-batch_mates_do_not_matter"] == "SKIPPED"
    assert found["architecture-tiny-same_image_gives_same_output"] == "FAILED"  # strictly expected, and it passes


def test_a_case_takes_other_settings_than_the_defaults(suite):
    _, text = suite(settings="kernel=4", only="scaled")
    assert outcomes(text)["architecture-tiny-output_is_scaled"] == "FAILED"


def test_slow_checks_are_asked_for_alone(suite):
    code, text = suite("slow=True", options=["--collect-only", "-q"])
    assert code == 0, text
    assert re.findall(r"test_contract\[(\S+)\]", text) == ["architecture-tiny-compiles"]


@pytest.mark.slow
def test_slow_checks_run(suite):
    code, text = suite("slow=True")
    assert code == 0, text
    assert outcomes(text) == {"architecture-tiny-compiles": "PASSED"}


def test_a_name_that_is_not_installed_is_an_error():
    with pytest.raises(ComponentError) as error:
        parametrize_components("a2m")
    assert str(error.value) == "there is no component 'a2m'; did you mean 'a2n'?"


def test_an_expected_failure_that_is_no_check_is_an_error():
    with pytest.raises(UsageError) as error:
        parametrize_components("a2n", expected_failures={"output_is_scald": "why not"})
    assert str(error.value) == (
        "expected_failures: there is no check 'output_is_scald'; did you mean 'output_is_scaled'?"
    )
