"""Components that are settings of other components."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import srkit
from srkit.engine.builder import Builder
from srkit.engine.weights.model import description, model_bytes, read_model
from srkit.errors import ComponentError, RecipeError
from srkit.plugin.component import Component
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Origin
from srkit.recipe.reading import read_part
from srkit.recipe.schema import recipe_schema
from tests.conftest import ROOT

QUICKSTART = (ROOT / "recipes" / "quickstart.toml").read_text()
L1 = '[[loss]]\ntype = "l1"\n'
BEFORE = QUICKSTART[: QUICKSTART.index(L1)].count("\n")


class Judge(nn.Module):
    """A discriminator.

    Args:
        features: channels
    """

    def __init__(self, features: int = 8) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"features must be 1 at least, not {features}")
        self.conv = nn.Conv2d(3, features, 3)

    def forward(self, images):
        return self.conv(images)


class Judged:
    """A loss with a discriminator."""

    def __init__(self, judge: srkit.Discriminator, *, form: str = "plain") -> None:
        self.judge = judge

    def __call__(self, sr, hr):
        return self.judge(sr).mean()


class Sum:
    """A loss of losses."""

    def __init__(self, *, terms: list[srkit.Loss], first: srkit.Loss = "l1", last: srkit.Loss | None = None) -> None:
        self.terms, self.first, self.last = terms, first, last

    def __call__(self, sr, hr):
        return sum(term(sr, hr) for term in [self.first, *self.terms])


class Endless:
    """A loss whose default is itself."""

    def __init__(self, inner: srkit.Loss = "endless") -> None: ...

    def __call__(self, sr, hr): ...


class Around(nn.Module):
    """A network around another."""

    def __init__(self, *, scale: int, inner: srkit.Architecture) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, lr):
        return self.inner(lr)


@pytest.fixture
def registry():
    found = discover()
    for kind, name, target in (
        ("discriminator", "judge", "Judge"),
        ("loss", "judged", "Judged"),
        ("loss", "sum", "Sum"),
        ("loss", "endless", "Endless"),
        ("architecture", "around", "Around"),
    ):
        found.add(Component(kind, name, f"{__name__}:{target}", summary="of this test"), Origin("mine", "1.0"))
    return found


@pytest.fixture
def recipe(tmp_path):
    """Write the quickstart with other losses."""

    def write(losses):
        path = tmp_path / "r.toml"
        path.write_text(QUICKSTART.replace(L1, losses))
        return path

    return write


def read(path, registry, *overrides):
    builder = Builder(registry)
    return builder.load(path, overrides=overrides, datasets=False).recipe


def fails(path, registry, *overrides):
    with pytest.raises(RecipeError) as error:
        read(path, registry, *overrides)
    return str(error.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize("judge", ['"judge"', '{ type = "judge" }', '{ type = "judge", features = 8 }'])
def test_a_setting_takes_a_component_by_its_name_or_as_a_table_with_its_defaults_written_out(recipe, registry, judge):
    found = read(recipe(f'[[loss]]\ntype = "judged"\njudge = {judge}\n'), registry)
    assert found.to_tree()["loss"] == [
        {"type": "judged", "weight": 1.0, "judge": {"type": "judge", "features": 8}, "form": "plain"}
    ]
    made = Builder(registry).make(found.loss[0])
    assert made.judge.conv.out_channels == 8


def test_the_resolved_recipe_reads_back_as_the_same_and_the_hash_follows_the_parts_within(recipe, registry, tmp_path):
    found = read(recipe('[[loss]]\ntype = "judged"\njudge = "judge"\n'), registry)
    again = tmp_path / "again.toml"
    again.write_text(found.to_toml())
    assert read(again, registry) == found
    other = read(recipe('[[loss]]\ntype = "judged"\njudge = "judge"\n'), registry, "loss.judge.features=9")
    assert other.hash != found.hash


@pytest.mark.parametrize("judge", ['"judge"', '{ type = "judge", features = 3 }'])
def test_set_and_extends_reach_into_a_component_within_in_its_short_form_too(recipe, registry, tmp_path, judge):
    base = recipe(f'[[loss]]\ntype = "sum"\nterms = [{{ type = "judged", judge = {judge} }}, "l1"]\n')
    found = read(base, registry, "loss.0.terms.0.judge.features=32", "loss.0.terms.1.type=charbonnier")
    terms = found.to_tree()["loss"][0]["terms"]
    assert terms[0]["judge"] == {"type": "judge", "features": 32}
    assert terms[1]["type"] == "charbonnier"

    inner = 'architecture = { type = "around", inner = "edsr" }\n'
    base.write_text(inner + QUICKSTART.replace(QUICKSTART[QUICKSTART.index("[architecture]") :].split("\n\n")[0], ""))
    over = tmp_path / "over.toml"
    over.write_text('extends = "r.toml"\n[architecture.inner]\nblocks = 2\n')
    assert read(over, registry).to_tree()["architecture"]["inner"]["blocks"] == 2


def test_a_default_may_name_a_component_which_is_then_part_of_the_recipe(recipe, registry):
    found = read(recipe('[[loss]]\ntype = "sum"\nterms = []\n'), registry)
    tree = found.to_tree()["loss"][0]
    assert tree["first"] == {"type": "l1", "reduction": "mean"}
    assert "last" not in tree
    assert callable(Builder(registry).make(found.loss[0]).first)
    assert callable(registry.create("loss", "sum", terms=["l1"]).first)


def test_every_problem_within_is_reported_at_once_each_with_its_line(recipe, registry):
    path = recipe(
        '[[loss]]\ntype = "judged"\njudge = { type = "jugde", features = 1 }\n\n'
        '[[loss]]\ntype = "judged"\n[loss.judge]\ntype = "judge"\nfeature = 3\n\n'
        '[[loss]]\ntype = "judged"\njudge = "l1"\n\n'
        '[[loss]]\ntype = "judged"\njudge = { type = "judge", features = 0 }\n\n'
        '[[loss]]\ntype = "sum"\nterms = ["l1", { type = "judged" }]\n'
    )
    assert fails(path, registry).splitlines() == [
        f"r.toml:{BEFORE + 3}: unknown discriminator 'jugde'; did you mean 'judge'? (installed: {INSTALLED})",
        f"r.toml:{BEFORE + 9}: unknown setting 'feature' of discriminator 'judge'; did you mean 'features'?",
        f"r.toml:{BEFORE + 13}: unknown discriminator 'l1'; 'l1' is of kind loss (installed: {INSTALLED})"
        "; if a one-file plugin has it, add -p FILE",
        f"r.toml:{BEFORE + 17}: features must be 1 at least, not 0",
        f"r.toml:{BEFORE + 21}: missing setting 'judge' of loss 'judged' (discriminator)",
    ]


INSTALLED = ", ".join(sorted({"judge", *(entry.component.name for entry in discover().of_kind("discriminator"))}))


def test_components_within_each_other_without_an_end_are_refused(recipe, registry):
    deep = '"l1"'
    for _ in range(20):
        deep = f'{{ type = "sum", terms = [], first = {deep} }}'
    line = fails(recipe(f'[[loss]]\ntype = "sum"\nterms = []\nfirst = {deep}\n'), registry)
    assert line == f"r.toml:{BEFORE + 4}: a component within 16 others, and none may be deeper: sum > sum"
    line = fails(recipe('[[loss]]\ntype = "endless"\n'), registry)
    assert line == f"r.toml:{BEFORE + 1}: a component within 16 others, and none may be deeper: endless > endless"


def test_from_python_a_component_within_is_a_name_a_table_or_an_object(registry):
    judge = Judge(2)
    assert registry.create("loss", "judged", judge=judge).judge is judge
    assert registry.create("loss", "judged", judge="judge").judge.conv.out_channels == 8
    assert registry.create("loss", "judged", judge={"type": "judge", "features": 5}).judge.conv.out_channels == 5
    with pytest.raises(ComponentError) as error:
        registry.create("loss", "judged", judge={"type": "judge", "feature": 5})
    assert str(error.value) == "discriminator 'judge' has no setting 'feature'; did you mean 'features'?"


def test_a_network_within_is_given_the_scale_and_its_model_file_makes_it_again(registry, tmp_path):
    part = read_part(registry, "architecture", "around", ['inner={ type = "edsr", blocks = 1 }'])
    builder = Builder(registry)
    network = builder.network(part, 3).eval()
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_bytes(network.state_dict(), description(builder, "around", part.settings, 3)))
    model = read_model(path, builder)
    assert model.settings["inner"]["blocks"] == 1
    x = torch.rand(1, 3, 8, 9)
    assert torch.equal(model.network(x), network(x))
    assert network(x).shape == (1, 3, 24, 27)


def test_the_schema_knows_components_within_each_other(registry):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(json.dumps(recipe_schema(registry)))
    validator = jsonschema.Draft7Validator(schema)
    import tomllib

    def problems(loss):
        text = QUICKSTART.replace(L1, loss)
        return [error.message for error in validator.iter_errors(tomllib.loads(text))]

    assert not problems('[[loss]]\ntype = "sum"\nterms = [{ type = "judged", judge = "judge" }]\n')
    assert problems('[[loss]]\ntype = "sum"\nterms = [{ type = "judged", judge = { type = "judge", feature = 1 } }]\n')
    assert problems('[[loss]]\ntype = "judged"\njudge = "jugde"\n')
