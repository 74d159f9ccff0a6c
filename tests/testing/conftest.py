"""Components that break promises, loaded from a real file, and what the checks find of them."""

from __future__ import annotations

import pytest

from srkit.plugin.discovery import discover
from srkit.testing.check import Subject
from srkit.testing.running import results


@pytest.fixture(scope="module")
def registry(request, tmp_path_factory):
    """Everything installed, and the test module's PLUGIN."""
    path = tmp_path_factory.mktemp("plugin") / f"bad_{request.module.KIND}.py"
    path.write_text(request.module.PLUGIN)
    return discover([str(path)])


@pytest.fixture
def failures(request, registry):
    """Return {check: (found, instead)} of what fails of a component of the test module's KIND."""

    def find(name, *, slow=False):
        found = results(Subject(registry.find(request.module.KIND, name), registry), slow=slow)
        return {result.check.name: (result.found, result.instead) for result in found if result.outcome == "failed"}

    return find
