"""A plugin to begin with: a distribution of one component that is installed, tested and trained as it is written."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import os
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

import attrs

from srkit import files
from srkit.errors import RunFailed, UsageError, did_you_mean
from srkit.plugin.contracts import KINDS
from srkit.plugin.registry import Registry
from srkit.version import __version__

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
PYTHON = "3.11"  # the oldest that srkit runs on
LONGEST = 30  # characters; the templates' lines stay short with it

# The example of each kind: the module it stands in, and what it does. A kind has a folder of templates by its name.
EXAMPLES = {
    "architecture": ("network", "Residual blocks that add detail to a bilinear enlargement"),
    "loss": ("loss", "Absolute difference that counts more at edges"),
    "dataset": ("dataset", "Drawn images of stripes"),
    "degradation": ("degradation", "A Gaussian blur of another width for each sample"),
    "metric": ("metric", "Mean absolute difference in levels of 8 bits"),
}
# What the example's recipe has of the other kinds: enough to be better than bicubic in a quarter of a minute.
COMPANIONS = {
    "architecture": 'type = "a2n"\nfeatures = 16\nblocks = 4\nupsampling_features = 16',
    "loss": 'type = "l1"',
    "dataset": 'type = "leaves"',
    "degradation": 'type = "bicubic"',
    "metric": 'type = "psnr_y"',
}


@attrs.frozen
class Plugin:
    """What is to be written: a component of a kind, by its name."""

    kind: str
    name: str

    @property
    def distribution(self) -> str:
        """What pip calls it."""
        return f"srkit-{self.name.replace('_', '-')}"

    @property
    def module(self) -> str:
        """What Python imports."""
        return f"srkit_{self.name}"

    @property
    def class_name(self) -> str:
        """The name in capitals with what it is, so that it is never a word of Python's or torch's: "MyNetNetwork"."""
        part = EXAMPLES[self.kind][0]
        stem = self.name.removesuffix(part).rstrip("_")
        return "".join(map(str.capitalize, [*stem.split("_"), part]))


def plan_plugin(registry: Registry, kind: str, name: str) -> Plugin:
    """Return the plugin that a name means: "xyz", "srkit-xyz" and "srkit_xyz" are the same.

    Raises UsageError for a kind without an example, a name that is none, and a name that something installed has.
    """
    if kind not in EXAMPLES:
        known = f"there is no example of kind '{kind}'" if kind in KINDS else f"unknown kind '{kind}'"
        raise UsageError(f"{known}{did_you_mean(kind, EXAMPLES)}")
    plugin = Plugin(kind, re.sub("^srkit[-_]", "", name).replace("-", "_"))
    _refuse_bad_name(plugin, name)
    _refuse_taken_name(plugin, registry)
    return plugin


def _refuse_bad_name(plugin: Plugin, given: str) -> None:
    name, part = plugin.name, EXAMPLES[plugin.kind][0]
    if keyword.iskeyword(name):
        raise UsageError(f"'{given}' is a keyword of Python; write '{name}_{part}'")
    if not _is_name(name):
        words = re.sub("([a-z0-9])([A-Z])", r"\1_\2", name).lower()
        near = re.sub("[^a-z0-9]+", "_", words).lstrip("_0123456789").rstrip("_")
        hint = f"; did you mean '{near}'?" if _is_name(near) else ""
        rule = f"small letters, digits and single underscores, a letter first, at most {LONGEST} characters"
        raise UsageError(f"'{given}' is no name for a component: {rule}{hint}")


def _is_name(name: str) -> bool:
    return len(name) <= LONGEST and re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", name) is not None


def _refuse_taken_name(plugin: Plugin, registry: Registry) -> None:
    taken = [
        f"{plugin.kind} '{plugin.name}' of {entry.origin} is"
        for entry in registry.of_kind(plugin.kind)
        if entry.component.name == plugin.name
    ]
    for distribution in importlib.metadata.distributions(name=plugin.distribution):
        taken.append(f"distribution {plugin.distribution} {distribution.version} is")
    spec = importlib.util.find_spec(plugin.module)
    if spec is not None and spec.origin is not None:  # a folder of that name, which is no package, has no origin
        taken.append(f"module {plugin.module} ({spec.origin}) is")
    if taken:
        raise UsageError(f"{taken[0]} installed already; write another name, 'my_{plugin.name}' say")


def write_plugin(plugin: Plugin, target: Path) -> list[Path]:
    """Write a plugin's distribution into a folder that is not there yet; return the files.

    The folder is there with all of it, or not at all. Raises UsageError where it is there already or would hide the
    plugin's module, RunFailed where it cannot be written.
    """
    if os.path.lexists(target):
        raise UsageError(f"{target} is there already; remove it first, or give another --to")
    if target.name == plugin.module:
        # Python, started beside it, would import the folder for the package in it.
        raise UsageError(f"{target} has the name of its own module; write --to {target.with_name(plugin.distribution)}")
    texts = plugin_texts(plugin)
    temporary = target.with_name(f"{files.ASIDE}{os.getpid()}-{target.name}")
    try:
        for name, text in texts.items():
            files.make_directory((temporary / name).parent)
            files.write_file(temporary / name, text.encode())
        files.rename(temporary, target)
    except OSError as error:
        raise RunFailed(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        files.remove_quietly(temporary)
    return [target / name for name in texts]


def plugin_texts(plugin: Plugin) -> dict[str, str]:
    """Return the text of each file of a plugin's distribution, by its path there."""
    part, summary = EXAMPLES[plugin.kind]
    words = {
        **COMPANIONS,
        plugin.kind: f'type = "{plugin.name}"',
        "kind": plugin.kind,
        "article": "an" if plugin.kind[0] in "aeiou" else "a",
        "name": plugin.name,
        "distribution": plugin.distribution,
        "module": plugin.module,
        "class_name": plugin.class_name,
        "part": part,
        "summary": summary,
        "python": PYTHON,
        "requirement": requirement(__version__),
    }
    texts = {}
    for folder in (TEMPLATES / "common", TEMPLATES / plugin.kind):
        for source in sorted(folder.rglob("*.txt")):
            name = source.relative_to(folder).as_posix().removesuffix(".txt")
            texts[_place(name, plugin)] = Template(source.read_text(encoding="utf-8")).substitute(words)
    return dict(sorted(texts.items()))


def _place(name: str, plugin: Plugin) -> str:
    """Return where a template's text goes: the package has the module's name, and Git's file a dot."""
    places: Mapping[str, str] = {"gitignore": ".gitignore"}
    return places.get(name, re.sub("^module/", f"{plugin.module}/", name))


def requirement(version: str) -> str:
    """Return the versions of srkit that a plugin written with one goes with: "srkit>=0.1,<0.2", "srkit>=1.4,<2"."""
    major, minor = map(int, version.split(".")[:2])
    return f"srkit>={major}.{minor},<{major + 1 if major else f'0.{minor + 1}'}"
