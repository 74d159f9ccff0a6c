from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from srkit.errors import ComponentError
from srkit.plugin.component import Component
from srkit.plugin.settings import REQUIRED, read_settings, type_name, untyped_parameters

if TYPE_CHECKING:
    from torch import Tensor


class Network:
    """A network.

    Args:
        scale: how much larger.
        features: channels; more are
            slower.
        mode: how.
    """

    def __init__(
        self,
        *,
        scale: int,
        features: int = 4,
        mode: Literal["a", "b"] = "a",
        window: float | Tensor = 1.0,
        kernel: Tensor | None = None,
        untyped=3,
        bare: tuple = (2, 3.5),
        nothing=None,
        empty=(),
        mixed=(1, "a"),
        path: str | Path | None = None,
        sizes: Sequence[int] = (1, 2),
        pair: tuple[float, float] = (0.9, 0.99),
        required: str,
        **rest: int,
    ) -> None: ...


def test_a_signature_is_read_as_settings():
    settings = read_settings(Network, ("scale",))
    assert {name: (type_name(s.type), s.default) for name, s in settings.items()} == {
        "features": ("integer", 4),
        "mode": ('"a" or "b"', "a"),
        "window": ("number", 1.0),
        "untyped": ("integer", 3),
        "bare": ("list of numbers", (2, 3.5)),
        "path": ("string", None),
        "sizes": ("list of integers", (1, 2)),
        "pair": ("list of 2 numbers", (0.9, 0.99)),
        "required": ("string", REQUIRED),
    }


def test_the_docstring_gives_each_setting_its_meaning():
    settings = read_settings(Network, ("scale",))
    assert [settings[name].doc for name in ("features", "mode", "pair")] == ["channels; more are slower.", "how.", ""]


def test_a_parameter_that_nobody_can_give_is_an_error():
    def target(*, kernel): ...

    with pytest.raises(ComponentError) as error:
        read_settings(target)
    assert str(error.value) == (
        "tests.plugin.test_component.test_a_parameter_that_nobody_can_give_is_an_error.<locals>.target cannot be "
        "configured: "
        "its parameter 'kernel' has neither a type that TOML can write nor a default; "
        "write kernel: int, or which type it has"
    )


@pytest.mark.parametrize(
    ("default", "name"),
    [
        (True, "boolean"),
        (64, "integer"),
        (0.5, "number"),
        ("relu", "string"),
        ([6, 6], "list of integers"),
        ((1, 0.5), "list of numbers"),
        ([(1, 2), (3,)], "list of lists of integers"),
    ],
)
def test_a_plain_default_is_the_type_of_a_parameter_without_one(default, name):
    def target(scale, nf=default): ...

    setting = read_settings(target, ("scale",))["nf"]
    assert (type_name(setting.type), setting.default) == (name, default)
    assert untyped_parameters(target, ("scale",)) == []


@pytest.mark.parametrize("default", [None, [], (), {"a": 1}, (1, "a"), object(), b""])
def test_a_default_that_shows_no_type_makes_no_setting(default):
    def target(scale, nf=default): ...

    assert read_settings(target, ("scale",)) == {}
    assert [parameter.name for parameter in untyped_parameters(target, ("scale",))] == ["nf"]


def test_torch_losses_are_legal_targets():
    target = Component("loss", "x", "torch.nn:L1Loss").load()
    assert list(read_settings(target)) == ["reduction"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "no_such_module:X",
            "loss 'x' cannot be used: importing no_such_module:X failed with "
            "ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            "json:nothing",
            "loss 'x' cannot be used: importing json:nothing failed with "
            "AttributeError: module 'json' has no attribute 'nothing'",
        ),
        ("json:__name__", "loss 'x' cannot be used: json:__name__ is not callable"),
    ],
)
def test_a_target_that_cannot_be_had_says_why(target, message):
    with pytest.raises(ComponentError) as error:
        Component("loss", "x", target).load()
    assert str(error.value) == message


def test_a_component_that_needs_more_says_what_when_it_is_used():
    component = Component("loss", "l3", "math:sqrt", missing="it needs somelib: pip install somelib")
    with pytest.raises(ComponentError) as error:
        component.load()
    assert str(error.value) == "loss 'l3' cannot be used: it needs somelib: pip install somelib"


@pytest.mark.parametrize(
    ("written", "shown"),
    [("two\n  lines\t", "two lines"), ("x" * 200, "x" * 200), ("x" * 10**6, "x" * 199 + "…"), ("", "")],
)
def test_a_summary_is_a_line_of_a_table(written, shown):
    component = Component("loss", "x", "a:b", summary=written, source=written)
    assert (component.summary, component.source) == (shown, shown)


def test_a_file_that_cannot_be_imported_is_named_with_its_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    for text, found in (
        ("x = 1\nimport no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing' ({}:2)"),
        ("x = 1\nx[0]\n", "TypeError: 'int' object is not subscriptable ({}:2)"),
        ("x = 1\ndef (:\n", "SyntaxError: invalid syntax ({}:2)"),
        ("from json import no_such_name\n", "ImportError: cannot import name 'no_such_name' from 'json' "),
    ):
        name = f"target_{abs(hash(text)):x}"
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        with pytest.raises(ComponentError) as error:
            Component("loss", "x", f"{name}:make").load()
        assert str(error.value).startswith(
            f"loss 'x' cannot be used: importing {name}:make failed with {found.format(path)}"
        )
        assert str(path) in str(error.value)
