"""`srkit run` in several processes: with --processes, under torchrun on two machines, as a job of Slurm."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srkit.cli import main
from tests.conftest import HANGS, ROOT
from tests.forked import FAULTS

# The first start's alone, so that the next one gets past it.
ONCE = 'if os.environ.get("TORCHELASTIC_RESTART_COUNT") != "0": at = -1'
MANY = ["--set", "train.steps=100000", "--set", "train.checkpoint_every=2", "--set", 'loss=[{ type = "fault" }]']


@pytest.fixture
def command(tiny):
    """The command that trains the tiny recipe with the loss that has faults, and notes the processes that call it."""
    text = FAULTS.replace(".split()\n", f'.split()\n        {ONCE}\n        open(f"pid{{os.getpid()}}", "w").close()\n')
    Path("faults.py").write_text(text)
    return [sys.executable, "-m", "srkit", "-p", "faults.py", "run", "tiny.toml", "--out", "run"]


def pids():
    return [int(path.name[3:]) for path in Path().glob("pid*")]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition):
    until = time.monotonic() + HANGS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_run_whose_process_is_killed_goes_on_by_itself(command):
    Path("run").mkdir()
    Path("run/recipe.toml").write_text("of an older run")
    words = ["--processes", "2", "--max-restarts", "1", "--restart", "--set", 'loss=[{ type = "fault" }]']
    environment = {**os.environ, "FAULT": "SIGKILL 1 4"}
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=HANGS, env=environment)
    assert done.returncode == 0, done.stderr
    assert "process 1 of 2 was ended by SIGKILL\nstart 2 of at most 2\n" in done.stderr
    assert "continuing from step 3 of 6" in done.stderr
    assert done.stderr.count("the old run is now ") == 1
    assert done.stdout.count("psnr_y") == 2  # one table, and what its scores mean
    assert len(list(Path().glob("run.*"))) == 1


def test_a_signal_reaches_every_process_and_none_outlives_the_command(command):
    process = subprocess.Popen([*command, "--processes", "2", *MANY], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: Path("run/checkpoints/step_00000004").exists() or process.poll() is not None)
    process.send_signal(signal.SIGUSR1)
    _, stderr = process.communicate(timeout=HANGS)
    assert process.returncode == 75, stderr
    assert stderr.count("with a checkpoint saved\nto continue, run the same command again\n") == 1
    assert not any(map(is_running, pids()))
    for path in Path().glob("pid*"):
        path.unlink()
    process = subprocess.Popen([*command, "--processes", "2", *MANY], stderr=subprocess.DEVNULL)
    wait_for(lambda: len(pids()) == 2 or process.poll() is not None)
    process.kill()
    process.wait()
    assert len(pids()) == 2
    wait_for(lambda: not any(map(is_running, pids())))


@pytest.mark.parametrize(
    ("words", "environment", "line"),
    [
        (
            ["--max-restarts", "1"],
            {},
            "--processes is at least 1, --max-restarts at least 0, and that is for --processes alone",
        ),
        (["--processes", "2"], {"RANK": "0"}, "torchrun starts the processes: leave out --processes"),
        (
            [],
            {"WORLD_SIZE": "2"},
            "WORLD_SIZE is set, and RANK is not set: start with torchrun, or with --processes",
        ),
        (
            [],
            dict.fromkeys(("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR"), "1")
            | {"WORLD_SIZE": "2", "MASTER_PORT": "$(touch canary)"},
            "WORLD_SIZE is set, and MASTER_PORT is no whole number: start with torchrun, or with --processes",
        ),
    ],
)
def test_what_cannot_be_started_is_a_line(tiny, capsys, monkeypatch, words, environment, line):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["run", "tiny.toml", *words]) == 2
    assert capsys.readouterr().err == f"srkit run: {line}\n"
    assert not Path("canary").exists()


NAMESPACES = """
set -u
ip link set lo up
unshare -n sleep 1000 & other=$!
trap 'kill $other' EXIT
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
ip link add v0 type veth peer name v1 netns $other
ip addr add 10.7.0.1/24 dev v0 && ip link set v0 up
nsenter -t $other -n sh -c 'ip link set lo up; ip addr add 10.7.0.2/24 dev v1; ip link set v1 up'
start() {
    torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint 10.7.0.1:29400 --rdzv-id test \
        --rdzv-conf is_host=$1 --local-addr $2 -m srkit run tiny.toml --out run
}
export -f start
(cd second && GLOO_SOCKET_IFNAME=v1 nsenter -t $other -n bash -c 'start 0 10.7.0.2') & second=$!
(cd first && GLOO_SOCKET_IFNAME=v0 start 1 10.7.0.1) && wait $second
"""


@pytest.mark.slow
@pytest.mark.skipif(
    subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode != 0
    if shutil.which("unshare")
    else True,
    reason="no network namespaces are permitted",
)
def test_two_machines_train_one_run_and_one_of_them_has_it(tiny):
    for name in ("first", "second"):
        Path(name).mkdir()
        shutil.copy(tiny, name)
        shutil.copytree("photos", f"{name}/photos")
    done = subprocess.run(
        ["unshare", "-rn", "bash", "-c", NAMESPACES], capture_output=True, text=True, timeout=HANGS, env=with_torchrun()
    )
    assert done.returncode == 0, done.stderr
    assert Path("first/run/last.safetensors").exists()
    assert sorted(path.name for path in Path("second").iterdir()) == ["photos", "tiny.toml"]
    assert done.stdout.count("bicubic ") == 1


def with_torchrun(*folders: str) -> dict[str, str]:
    """The environment with these folders and that of torchrun in front of the others that hold commands."""
    paths = [*folders, str(Path(sys.executable).parent), os.environ["PATH"]]
    return {**os.environ, "PATH": os.pathsep.join(paths), "SLURM_GPUS_ON_NODE": "1"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


SLURM = {
    # One agent a node; they meet on this machine, where the first one is the host.
    "srun": 'shift\nfor node in 0 1; do\n"$@" & echo $! >> agents\ndone\n'
    'trap "" USR1\nfor agent in $(cat agents); do wait $agent || code=$?; done\nexit ${code:-0}\n',
    "hostname": "echo localhost\n",
    "scancel": "kill -USR1 $(cat agents)\n",
    "scontrol": 'echo "$@" > scontrol\n',
}


@pytest.mark.slow
def test_a_job_of_slurm_is_stopped_before_its_time_and_starts_again(command):
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    (job,) = re.findall(r'^```bash title="job.sh"\n(.*?)^```$', text, re.M | re.S)
    words = f"-m srkit -p faults.py run {shlex.join(MANY)}"
    job = job.replace("-m srkit run", words).replace("29500", str(free_port()))
    Path("job.sh").write_text(job)
    Path("bin").mkdir()
    for name, lines in SLURM.items():
        Path("bin", name).write_text(f"#!/bin/bash\n{lines}")
        Path("bin", name).chmod(0o755)
    environment = with_torchrun(str(Path("bin").resolve())) | {
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NAME": "tiny",
        "RECIPE": "tiny.toml",
    }
    process = subprocess.Popen(["bash", "job.sh"], env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: Path("runs/tiny/checkpoints/step_00000004").exists() or process.poll() is not None)
    process.send_signal(signal.SIGUSR1)
    _, stderr = process.communicate(timeout=HANGS)
    assert process.returncode == 75, stderr
    assert Path("scontrol").read_text() == "requeue 17\n"
    assert stderr.count("with a checkpoint saved\nto continue, run the same command again\n") == 1
    assert not any(map(is_running, pids()))
