"""Components by kind and name, and which distribution gave each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import PurePath
from typing import Any

import attrs

from srkit.errors import ComponentError, did_you_mean, nearest
from srkit.plugin.component import LONGEST, Component, one_line
from srkit.plugin.contracts import KINDS
from srkit.plugin.settings import advice_on, call, of_type, read_settings, with_parts

MOST = 1_000  # characters of a reason: an exception may hold a file
FEW = 3  # failures that are listed with their reasons
OWN = "srkit"  # the distribution whose components keep their names beside any others


@attrs.frozen
class Origin:
    """Where a component came from: a distribution and its version, or a file for one command."""

    distribution: str
    version: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is a file, `-p my_net.py`, and no distribution."""
        return not self.version

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


@attrs.frozen
class Entry:
    """A component with its origin."""

    component: Component
    origin: Origin

    @property
    def full_name(self) -> str:
        """The name that no other component has: "distribution:a2n"."""
        return f"{self.origin.distribution}:{self.component.name}"


def _reason(text: str) -> str:
    return str(one_line(text, MOST))


@attrs.frozen
class Failure:
    """A plugin that could not be loaded, and why, in a line; `error` is what it raised, where it did."""

    plugin: str
    origin: Origin
    reason: str = attrs.field(converter=_reason)
    error: BaseException | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def names(self) -> set[str]:
        """What it is called by: the entry point, or a file's path or name, and the distribution."""
        return {self.plugin, PurePath(self.plugin).stem, self.origin.distribution}

    def __str__(self) -> str:
        return f"plugin '{self.plugin}' of {self.origin} failed to load: {self.reason}"


class Registry:
    """The components that are installed. An instance, never a global."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], list[Entry]] = {}
        self.failures: list[Failure] = []
        self.slow: list[str] = []  # a line on each plugin that makes every command wait

    def add(self, component: Component, origin: Origin) -> None:
        """Add a component. Raises ComponentError for a kind, a fact or a target that is none, or a name given twice."""
        check(component)
        entries = self._entries.setdefault((component.kind, component.name), [])
        if any(entry.origin.distribution == origin.distribution for entry in entries):
            raise ComponentError(f"{origin} gives {component.kind} '{component.name}' twice")
        entries.append(Entry(component, origin))

    def __iter__(self) -> Iterator[Entry]:
        """Walk all entries by kind, in the order of `KINDS`, then by name."""
        order = list(KINDS)
        for key in sorted(self._entries, key=lambda key: (order.index(key[0]), key[1])):
            yield from self._entries[key]

    def of_kind(self, kind: str) -> list[Entry]:
        """Return the entries of a kind, by name. Raises ComponentError for an unknown kind."""
        if kind not in KINDS:
            raise ComponentError(f"unknown kind '{kind}'{did_you_mean(kind, KINDS)}")
        return [entry for entry in self if entry.component.kind == kind]

    def find(self, kind: str, name: str) -> Entry:
        """Return the entry of a name, "a2n" or "distribution:a2n".

        Raises ComponentError where it is unknown (with what is installed and what failed to load) or where two
        distributions give it (with both names in full).
        """
        distribution, colon, bare = name.rpartition(":")
        entries = sorted(self._entries.get((kind, bare), []), key=lambda entry: entry.origin.distribution)
        if colon:
            entries = [entry for entry in entries if entry.origin.distribution == distribution]
        if len(entries) == 1:
            return entries[0]
        own = [entry for entry in entries if entry.origin.distribution == OWN]
        if own:
            return own[0]  # what comes beside srkit changes no recipe and no run
        if entries:
            both = " and ".join(str(entry.origin) for entry in entries)
            write = " or ".join(f"'{entry.full_name}'" for entry in entries)
            raise ComponentError(f"{kind} '{name}' is given by {both}; write {write}")
        names = {entry.component.name for entry in self.of_kind(kind) if not entry.component.missing}
        near = nearest(bare, names)
        text = f"unknown {kind} '{name}'" + (f"; did you mean '{near}'?" if near else self._of_other_kind(kind, bare))
        text += f" (installed: {', '.join(sorted(names))})" if names else " (none is installed)"
        cause = next((failure.error for failure in self._near(name)), None)
        raise ComponentError(text + self.failed(name)) from cause

    def _of_other_kind(self, kind: str, bare: str) -> str:
        """Return of which other kinds a component of this name is, or nothing."""
        kinds = dict.fromkeys(entry.component.kind for entry in self if entry.component.name == bare)
        return f"; '{bare}' is of kind {' and '.join(kinds)}" if kinds else ""

    def failed(self, full_name: str) -> str:
        """Return what failed to load, in brackets; the one that most likely has a name with its reason."""
        told = self._near(full_name)
        if 0 < len(told) <= FEW:
            return "".join(f" ({failure})" for failure in told)
        broken = ", ".join(f"'{failure.plugin}'" for failure in told)
        return f" (plugins {broken} failed to load; `srkit list` says why)" if told else ""

    def _near(self, full_name: str) -> list[Failure]:
        """Return the failures of what most likely has a name; else all of them."""
        distribution, _, name = full_name.rpartition(":")
        meant = {distribution, name, f"srkit-{name.replace('_', '-')}"} - {""}
        near = [failure for failure in self.failures if failure.names & meant]
        return near or self.failures

    def name_of(self, entry: Entry) -> str:
        """Return the shortest name that finds an entry: "a2n", or "distribution:a2n" where others have that name."""
        component = entry.component
        try:
            return component.name if self.find(component.kind, component.name) is entry else entry.full_name
        except ComponentError:
            return entry.full_name

    def clashes(self, *, of_files: bool = False) -> list[str]:
        """Return a line on each entry that others of its name hide: what recipes must call it.

        With `of_files`, of those alone that came from a file.
        """
        lines = []
        for entry in self:
            name = self.name_of(entry)
            if name != entry.component.name and (entry.origin.is_file or not of_files):
                what = f"{entry.component.kind} '{entry.component.name}'"
                lines.append(f"{what} of {entry.origin}: another has that name; recipes call this one '{name}'")
        return lines

    def of_files(self) -> str:
        """Return what to say to who looks in vain for a component: which files were loaded, or how to load one."""
        files = dict.fromkeys(entry.origin.distribution for entry in self if entry.origin.is_file)
        if files:
            return f"; loaded with -p or SRKIT_PLUGINS: {', '.join(files)}"
        return "; if a one-file plugin has it, add -p FILE"

    def by_name(self, name: str) -> list[Entry]:
        """Return the entries of any kind that recipes mean by a name; empty where there is none.

        Where they would have to say which of several they mean, all of these.
        """
        distribution, _, bare = name.rpartition(":")
        named = [entry for entry in self if entry.component.name == bare]
        if distribution:
            return [entry for entry in named if entry.origin.distribution == distribution]
        meant = {entry.component.kind: entry for entry in named if self.name_of(entry) == bare}
        return [entry for entry in named if meant.get(entry.component.kind, entry) is entry]

    def create(self, kind: str, name: str, /, *given: Any, **settings: Any) -> Any:
        """Call a component's target, with what its kind is given and its settings as keywords.

        Raises ComponentError for an unknown component or setting; what the target raises passes through.
        """
        component = self.find(kind, name).component
        words = {word: settings.pop(word) for word in KINDS[kind].given if word in settings}
        if given:
            if not KINDS[kind].first or len(given) > 1:
                known = read_settings(component.load(), KINDS[kind].given)
                raise ComponentError(f"{kind} '{name}' takes its settings by name, {next(iter(known), 'name')}=...")
            words[KINDS[kind].first] = given[0]
        return self.make(kind, name, words, settings)

    def make(
        self,
        kind: str,
        name: str,
        words: Mapping[str, Any],
        settings: Mapping[str, Any],
        accept: Callable[[Component, Any], Any] = lambda component, made: made,
    ) -> Any:
        """Call a component's target with those of `words` that its kind is given, and its settings.

        A setting that takes a component may be a part, its name, or a table with its `type`: it is made first, from
        the same words. `accept` looks at each component that was made, and returns it.
        Raises ComponentError for an unknown component or setting; what targets and `accept` raise passes through.
        """
        component = self.find(kind, name).component
        target = component.load()
        known = read_settings(target, KINDS[kind].given)
        _refuse_unknown(component, settings, known, KINDS[kind].given)

        def within(kind: str, name: str, settings: Mapping[str, Any]) -> Any:
            try:
                made = self.make(kind, name, words, settings, accept)
            except ValueError as error:
                error.add_note(f"{kind} '{name}'")  # which of several parts it was
                raise
            return _drawing(made, self.find(kind, name).component.facts)

        of_target = {setting.name: setting.default for setting in known.values() if setting.names_components}
        filled = {key: with_parts(value, known[key].type, within) for key, value in {**of_target, **settings}.items()}
        return accept(component, call(KINDS[kind], target, words, filled))


def _drawing(made: Any, facts: Mapping[str, Any]) -> Any:
    """Return what states that it takes a tensor of draws, behind its images, as a function that takes Draws there."""
    if "draws" not in facts:
        return made
    return lambda *given: made(*given[:-1], given[-1].uniform(facts["draws"]))


def check(component: Component) -> None:
    """Raise ComponentError unless a component's kind, facts, name and target have the form that they must have."""
    what = f"{component.kind} '{component.name}'"
    kind = KINDS.get(component.kind)
    if kind is None:
        raise ComponentError(f"{what}: unknown kind '{component.kind}'{did_you_mean(component.kind, KINDS)}")
    if not component.name or any(c.isspace() or c == ":" for c in component.name):
        raise ComponentError(f"{what}: a name has no spaces and no colons")
    if len(component.name) > LONGEST:
        raise ComponentError(f"{component.kind} '{component.name[:20]}…': a name has at most {LONGEST} characters")
    for word in ("summary", "source", "missing"):
        if not isinstance(getattr(component, word), str):
            raise ComponentError(f"{what}: its {word} must be text, not {getattr(component, word)!r}")
    if not isinstance(component.target, str):
        raise ComponentError(f'{what}: its target must be a string, "package.module:Name" or f"{{__name__}}:Name"')
    module, _, attribute = component.target.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
        raise ComponentError(f"{what}: its target is '{component.target}'; write \"package.module:Name\"")
    for name, value in component.facts.items():
        fact = kind.facts.get(name)
        if fact is None:
            raise ComponentError(f"{what}: unknown fact '{name}'{did_you_mean(name, kind.facts)}")
        if not fact.holds(value):
            raise ComponentError(f"{what}: its fact '{name}' must be {of_type(fact.type)}, not {value!r}")


def _refuse_unknown(
    component: Component, names: Collection[str], known: Collection[str], given: Collection[str]
) -> None:
    """Raise ComponentError, saying what to write, if one of `names` is neither among `known` nor `given`."""
    for name in names:
        if name not in (*known, *given):
            advice = advice_on(name, component.load(), given, [*known, *given])
            raise ComponentError(f"{component.kind} '{component.name}' has no setting '{name}'{advice}")
