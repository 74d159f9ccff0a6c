"""What surrounds the code: the site's pages, the citation, the workflows and the templates of issues."""

from __future__ import annotations

import re
import tomllib

import pytest

from srkit.version import __version__
from tests.conftest import ROOT

yaml = pytest.importorskip("yaml")
GITHUB = sorted((ROOT / ".github").rglob("*.yml"))


def pages(nav) -> set[str]:
    """Return the files that a part of the site's navigation names."""
    if isinstance(nav, str):
        return {nav}
    return {page for part in (nav.values() if isinstance(nav, dict) else nav) for page in pages(part)}


def test_the_navigation_of_the_site_has_every_page():
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert there - pages(site["nav"]) == set()
    assert pages(site["nav"]) - there == set()


def test_the_site_takes_no_font_from_a_network():
    assert tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["theme"]["font"] is False


def test_the_citation_has_what_its_format_demands_and_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}
    assert (citation["cff-version"], citation["version"], citation["license"]) == ("1.2.0", __version__, "MIT")


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_the_files_of_github_are_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_the_workflow_runs_the_gate_and_names_tests_that_are_there():
    jobs = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text(encoding="utf-8"))["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["linux"]["steps"]]
    (tests,) = [step["run"] for step in jobs["quick"]["steps"] if step.get("run", "").startswith("pytest")]
    folders = re.findall(r"tests/\S+", tests)
    assert folders
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_the_map_of_the_code_names_folders_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z]+(?:/[a-z]*)+)`", text.partition("## Where things are")[2].partition("\n## ")[0])
    assert len(named) >= 10
    assert [name for name in named if not (ROOT / name).is_dir()] == []
