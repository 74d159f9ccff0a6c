"""How much memory there is, read from files as Linux writes them."""

from __future__ import annotations

import pytest

from srkit.engine.memory import UNKNOWN, free_memory

GIB = 2**30


@pytest.fixture
def linux(tmp_path):
    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return free_memory(tmp_path / "proc", tmp_path / "cgroup")

    return write


MACHINE = {"proc/meminfo": f"MemTotal: {64 * GIB // 1024} kB\nMemAvailable: {40 * GIB // 1024} kB\n"}


def group(folder, most, used, cached):
    return {
        f"cgroup{folder}/memory.max": f"{most}\n",
        f"cgroup{folder}/memory.current": f"{used}\n",
        f"cgroup{folder}/memory.stat": f"anon 1\ninactive_file {cached}\n",
    }


def test_without_groups_it_is_what_the_machine_has(linux):
    assert linux(MACHINE) == 40 * GIB


def test_a_group_without_a_limit_is_none(linux):
    assert linux({**MACHINE, "proc/self/cgroup": "0::/job\n", **group("/job", "max", GIB, 0)}) == 40 * GIB


def test_a_job_has_what_its_group_leaves_and_what_it_has_cached(linux):
    assert linux({**MACHINE, "proc/self/cgroup": "0::/job\n", **group("/job", 8 * GIB, 6 * GIB, GIB)}) == 3 * GIB


def test_the_limit_of_a_group_above_counts(linux):
    inner, outer = group("/slurm/job", 8 * GIB, GIB, 0), group("/slurm", 5 * GIB, GIB, 0)
    assert linux({**MACHINE, "proc/self/cgroup": "0::/slurm/job\n", **inner, **outer}) == 4 * GIB


def test_in_a_container_that_sees_the_hosts_path_its_own_root_counts(linux):
    assert linux({**MACHINE, "proc/self/cgroup": "0::/docker/0123abcd\n", **group("", 2 * GIB, GIB, 0)}) == GIB


def test_the_first_version_of_groups_is_read_too(linux):
    files = {
        "cgroup/memory/job/memory.limit_in_bytes": str(4 * GIB),
        "cgroup/memory/job/memory.usage_in_bytes": str(3 * GIB),
        "cgroup/memory/job/memory.stat": f"cache 5\ntotal_inactive_file {GIB}\n",
    }
    assert linux({**MACHINE, "proc/self/cgroup": "3:cpuset:/\n4:memory:/job\n", **files}) == 2 * GIB


def test_where_the_system_does_not_say_a_little_is_assumed(linux):
    assert linux({}) == UNKNOWN
