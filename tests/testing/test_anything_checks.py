"""Each check of any component can fail: one that breaks one promise, and what is told of it."""

from __future__ import annotations

import re

import pytest
import torch

from srkit.plugin.discovery import discover
from srkit.testing.anything import (
    importing_changes_nothing,
    importing_is_light,
    is_made_with_defaults,
    says_what_it_is,
)
from srkit.testing.check import Check, CheckFailed, Inapplicable, Subject
from srkit.testing.contract import SHARED, deviations_are_checks
from srkit.testing.running import perform, results
from tests.conftest import plugin

MODULE = '''
import torch

class Loss:
    """A difference.

    Args:
        gain: what it is multiplied by.
    """

    def __init__(self, *, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, sr, hr):
        return (sr - hr).abs().mean() * self.gain

class Silent(Loss):
    """A difference."""

    def __init__(self, *, gain: float = 1.0, power: int = 1) -> None: ...

class Untyped(Loss):
    def __init__(self, *, gain: float = 1.0, margin=0.5) -> None: ...

class Bare(Loss):
    def __init__(self, *, gain: float = 1.0, depths: tuple = (2, 2), sides=[], names: dict = {"a": 1.5}) -> None: ...

class Needs(Loss):
    def __init__(self, *, gain: float) -> None: ...

class Refuses(Loss):
    def __init__(self, *, gain: float = 1.0) -> None:
        raise ValueError("gain must be below 1, not 1")
'''
GOOD = plugin('"loss", "mine", "mine_module:Loss", summary="a difference"')


def failures(registry, kind, name, **settings):
    found = results(Subject(registry.find(kind, name), registry, settings))
    return {result.check.name: (result.found, result.instead) for result in found if result.outcome == "failed"}


def checked(sites, text, kind="loss", name="mine", module=MODULE, **settings):
    sites.add("srkit-mine", {"srkit_mine.py": text, "mine_module.py": module}, "mine = srkit_mine")
    return failures(discover(), kind, name, **settings)


def told(sites, check, text, kind="loss", module=MODULE, **settings):
    """What one check finds, and what it says to do."""
    sites.add("srkit-mine", {"srkit_mine.py": text, "mine_module.py": module}, "mine = srkit_mine")
    registry = discover()
    with pytest.raises(CheckFailed) as error:
        perform(Check(check), Subject(registry.find(kind, "mine"), registry, settings))
    assert str(error.value) == f"{error.value.what}; {error.value.instead}"
    return error.value.what, error.value.instead


def test_a_component_that_keeps_all_promises_passes(sites):
    assert checked(sites, GOOD) == {}


def test_a_plugin_whose_import_is_heavy_is_told_so(sites):
    assert checked(sites, "import h5py\nimport numpy\n" + GOOD) == {
        "importing_is_light": (
            "importing it imports numpy, h5py",
            'let the module with the hook declare only, and name the target by a string, "package.module:Name"',
        )
    }


CHANGES = {
    "the random state of Python": "import random; random.seed(1)",
    "signal handlers": "import signal; signal.signal(signal.SIGUSR2, signal.SIG_IGN)",
    "environment variables": "import os; os.environ['MINE'] = '1'",
    "the current folder": "os.chdir('/')",
    "the random state of numpy": "import numpy; numpy.random.seed(1)",
    "the random state of torch": "torch.manual_seed(3)",
    "torch's default dtype": "torch.set_default_dtype(torch.float64)",
    "torch's default device": "torch.set_default_device('meta')",
    "torch's number of threads": "torch.set_num_threads(3)",
    "whether torch keeps gradients": "torch.set_grad_enabled(False)",
    "torch's deterministic mode": "torch.use_deterministic_algorithms(True)",
}


def test_a_target_whose_import_changes_the_process_is_told_what(sites):
    module = "\n".join(["import torch", *CHANGES.values(), "class Loss: ..."])
    assert told(sites, importing_changes_nothing, GOOD, module=module) == (
        f"importing mine_module:Loss changes {', '.join(CHANGES)}",
        "do it where it is needed, and undo it",
    )


def test_a_plugin_whose_own_import_changes_the_process_is_told_what(sites):
    state = torch.get_rng_state()
    try:
        found = told(sites, importing_changes_nothing, "import torch; torch.manual_seed(3)\n" + GOOD)
    finally:
        torch.set_rng_state(state)
    assert found == ("importing the plugin changes the random state of torch", "do it where it is needed, and undo it")


def test_of_a_file_what_its_import_changes_is_told_too(tmp_path):
    path = tmp_path / "one_file.py"
    text = f"import torch\ntorch.set_num_threads(3)\n{MODULE}{GOOD}"
    path.write_text(text.replace("mine_module", path.stem))
    threads = torch.get_num_threads()
    try:
        registry = discover([str(path)])
    finally:
        torch.set_num_threads(threads)
    subject = Subject(registry.find("loss", "mine"), registry)
    with pytest.raises(Inapplicable) as error:
        importing_is_light(subject)
    assert str(error.value) == "a plugin of one file is imported whole"
    with pytest.raises(CheckFailed) as failed:
        importing_changes_nothing(subject)
    assert failed.value.what == "importing one_file:Loss changes torch's number of threads"


def test_a_component_without_a_summary_is_told_so(sites):
    assert told(sites, says_what_it_is, plugin('"loss", "mine", "mine_module:Loss"')) == (
        "it has no summary",
        'give Component(..., summary="what it is, in a line")',
    )


@pytest.mark.parametrize(
    ("name", "found", "instead"),
    [
        (
            "Silent",
            "settings gain, power without a meaning",
            'add to the docstring, under a line "Args:", the line "    gain: what it does."',
        ),
        (
            "Untyped",
            "settings gain, margin without a meaning",
            'add to the docstring, under a line "Args:", the line "    gain: what it does."',
        ),
        (
            "Bare",
            "parameters sides, names without a type that recipes could set",
            "write sides: list[float] = []",
        ),
    ],
)
def test_settings_without_a_type_or_a_meaning_are_named(sites, name, found, instead):
    assert told(sites, says_what_it_is, GOOD.replace("Loss", name)) == (found, instead)


@pytest.mark.parametrize(
    ("name", "found", "instead"),
    [
        (
            "Needs",
            "it needs gain",
            "give gain a default, or check it with --set gain=... (in a test, check(gain=...))",
        ),
        (
            "Refuses",
            "making it raises ValueError: gain must be below 1, not 1",
            "let the defaults, with every scale that it states, be good ones",
        ),
    ],
)
def test_a_component_that_its_defaults_do_not_make_is_told_so_and_nothing_else_is_run(sites, name, found, instead):
    text = GOOD.replace("Loss", name)
    sites.add("srkit-mine", {"srkit_mine.py": text, "mine_module.py": MODULE}, "mine = srkit_mine")
    registry = discover()
    found_results = list(results(Subject(registry.find("loss", "mine"), registry)))
    made = next(result for result in found_results if result.check.name == "is_made_with_defaults")
    assert (made.outcome, made.found, made.instead) == ("failed", found, instead)
    after = [result for result in found_results[found_results.index(made) + 1 :] if result.check not in SHARED]
    assert len(after) >= 4
    assert {(result.outcome, result.found) for result in after} == {
        ("skipped", "not run: is_made_with_defaults failed")
    }


def test_what_a_component_needs_may_be_given(sites):
    sites.add(
        "srkit-mine", {"srkit_mine.py": GOOD.replace("Loss", "Needs"), "mine_module.py": MODULE}, "x = srkit_mine"
    )
    registry = discover()
    is_made_with_defaults(Subject(registry.find("loss", "mine"), registry, {"gain": 1.0}))


NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self, upscale=2):
        super().__init__()

class Swallows(nn.Module):
    def __init__(self, upscale=2, **options):
        super().__init__()

def number(*, scale: int):
    return 3
"""


@pytest.mark.parametrize(
    ("target", "found", "instead"),
    [
        (
            "Net",
            "it takes no 'scale'; did you mean 'upscale'?",
            "write a subclass or a function that has the parameter 'scale', to call it with upscale=scale "
            "(see docs/plugins.md)",
        ),
        (
            "Swallows",
            "it takes no 'scale'; did you mean 'upscale'?",
            "write a subclass or a function that has the parameter 'scale', to call it with upscale=scale "
            "(see docs/plugins.md)",
        ),
        (
            "number",
            "architecture 'mine' makes a int, no torch Module",
            "let it return what docs/contracts.md says of a component of kind 'architecture'",
        ),
    ],
)
def test_a_network_that_is_not_made_as_its_kind_is_called_is_told_how(sites, target, found, instead):
    text = plugin(f'"architecture", "mine", "mine_module:{target}", summary="a network"')
    assert told(sites, is_made_with_defaults, text, "architecture", module=NETWORK) == (found, instead)


def test_a_deviation_that_is_no_check_is_named(sites):
    facts = 'facts={"deviations": {"says_what_it_si": "never mind"}}'
    assert told(sites, deviations_are_checks, GOOD.replace("summary", f"{facts}, summary")) == (
        "it states the deviation 'says_what_it_si', and there is no such check; did you mean 'says_what_it_is'?",
        "name a check of this table",
    )


def test_a_deviation_that_is_stated_is_no_failure_and_its_reason_is_told(sites):
    facts = 'facts={"deviations": {"says_what_it_is": "it speaks for itself"}}'
    text = GOOD.replace("summary", f"{facts}, summary").replace("Loss", "Silent")
    sites.add("srkit-mine", {"srkit_mine.py": text, "mine_module.py": MODULE}, "mine = srkit_mine")
    registry = discover()
    found = {result.check.name: result for result in results(Subject(registry.find("loss", "mine"), registry))}
    assert (found["says_what_it_is"].outcome, found["says_what_it_is"].found) == (
        "declared",
        "it speaks for itself (settings gain, power without a meaning)",
    )


def test_a_deviation_that_there_is_not_is_a_failure(sites):
    facts = 'facts={"deviations": {"says_what_it_is": "it speaks for itself"}}'
    assert checked(sites, GOOD.replace("summary", f"{facts}, summary")) == {
        "says_what_it_is": (
            'the deviation "it speaks for itself" is stated, and the check passes',
            "take 'says_what_it_is' out of the fact 'deviations'",
        )
    }


def test_an_import_that_takes_seconds_is_not_light(sites, monkeypatch):
    monkeypatch.setattr("srkit.plugin.discovery.SLOW", 0.0)
    found, instead = told(sites, importing_is_light, GOOD)
    assert re.fullmatch(r"importing it takes \d+\.\d s, and every command waits for it", found)
    assert (
        instead == 'let the module with the hook declare only, and name the target by a string, "package.module:Name"'
    )
