"""A disk without a disk's waiting: what is drawn here is killed and refused, and never loses its power."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(tmp_path):
    """An empty folder in memory where the system has such a place, since thousands of flushes would be waited for."""
    memory = "/dev/shm"
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    path = Path(tempfile.mkdtemp(prefix="srkit-", dir=memory))
    yield path
    shutil.rmtree(path)
