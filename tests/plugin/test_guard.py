import json
import os
import signal
import subprocess
import sys

import pytest

from srkit.plugin import guard
from srkit.plugin.discovery import discover
from tests.conftest import plugin

GOOD = plugin('"loss", "good", "srkit_good:make", summary="a good one"')

# What is done when it is imported, and the reason of its row in `srkit list` and everywhere else.
CAUGHT = {
    "os._exit(0)": "importing it ends the process: os._exit(0)",
    "raise KeyboardInterrupt": "importing it raises KeyboardInterrupt, as Ctrl-C does",
    "sys.path.clear()": "importing it changes sys.path, on which all depend (it was set back)",
    "sys.path = []": "importing it changes sys.path, on which all depend (it was set back)",
    "sys.meta_path.clear()": "importing it changes sys.meta_path, on which all depend (it was set back)",
    "os.chdir('/')": "importing it changes the current folder, on which all depend (it was set back)",
    "sys.stdout.close()": "{closed}",
    "sys.__stdout__.close()": "{closed}",
    "os.close(1)": "{closed}",
    "os.close(1); os.close(2)": "{closed}",
}
CLOSED = "importing it changes stdout or stderr, which it closes, on which all depend (it was set back)"
FATAL = {
    "os.kill(os.getpid(), signal.SIGSEGV)": "importing it ends the process by SIGSEGV",
    "os.abort()": "importing it ends the process by SIGABRT",
    "ctypes.CDLL(None)._exit(7)": "importing it ends the process with exit code 7",
}


@pytest.fixture(autouse=True)
def marks(tmp_path, monkeypatch):
    """Where marks are left: not where other tests would find them."""
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(guard.tempfile, "tempdir", None)
    yield folder
    guard.tempfile.tempdir = None


def add(sites, name, body):
    text = f"import ctypes, os, signal, sys\n{body}\n" + GOOD.replace("good", name)
    sites.add(f"srkit-{name}", {f"srkit_{name}.py": text}, f"{name} = srkit_{name}")


@pytest.mark.parametrize("body", CAUGHT)
def test_what_would_take_all_down_is_a_row_of_list_and_disturbs_no_other_command(sites, srkit_command, body):
    add(sites, "bad", body)
    add(sites, "fine", "")
    reason = CAUGHT[body].format(closed=CLOSED)
    run = srkit_command("list", "loss")
    assert run.returncode == 0
    assert [line.split()[0] for line in run.stdout.splitlines() if "srkit-fine" in line] == ["fine"]
    assert run.stdout.splitlines()[-1] == f"broken  plugin 'bad' of srkit-bad 1.0 failed to load: {reason}"
    run = srkit_command("show", "bad")
    assert run.returncode == 2
    assert run.stderr.endswith(f" (plugin 'bad' of srkit-bad 1.0 failed to load: {reason})\n")


@pytest.mark.parametrize("body", FATAL)
def test_a_crash_is_a_row_of_list_and_then_of_every_command(sites, srkit_command, marks, body):
    add(sites, "bad", body)
    add(sites, "fine", "")
    first = srkit_command("list", "loss", "--json")
    assert first.returncode == 0
    (failure,) = json.loads(first.stdout)["failures"]
    assert (failure["plugin"], failure["reason"]) == ("bad", FATAL[body])
    assert "fine" in {component["name"] for component in json.loads(first.stdout)["components"]}
    run = srkit_command("show", "fine")
    assert (run.returncode, run.stdout.splitlines()[0]) == (2, "fine  a fine one")
    run = srkit_command("show", "bad")
    assert run.stderr.endswith(f" (plugin 'bad' of srkit-bad 1.0 failed to load: {FATAL[body]})\n")
    (sites.folder / "srkit_bad.py").write_text(GOOD.replace("good", "bad"))  # mended, it is as any other
    assert srkit_command("show", "bad").stdout.splitlines()[0] == "bad  a bad one"
    assert list(marks.iterdir()) == []


def test_a_crash_takes_down_one_command_and_no_other(sites, srkit_command):
    add(sites, "bad", "os.abort()")
    add(sites, "fine", "")
    assert srkit_command("show", "fine").returncode == -signal.SIGABRT
    assert srkit_command("show", "fine").stdout.splitlines()[0] == "fine  a fine one"


def test_what_never_comes_back_is_a_row_and_so_is_a_file(sites, tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "LIMIT", 0.0)
    monkeypatch.setattr(guard, "FILE_LIMIT", 0.0)
    add(sites, "bad", "while True: pass")
    path = tmp_path / "endless.py"
    path.write_text("import time\nwhile True: time.sleep(1)\n")
    found = discover(ambient=str(path), tried=True)
    assert [(failure.plugin, failure.reason) for failure in found.failures] == [
        ("bad", "importing it does not come back within 0 s"),
        (str(path), "importing it does not come back within 0 s"),
    ]


def test_what_is_interrupted_is_named_and_tried_first_the_next_time(sites, tmp_path, monkeypatch):
    add(sites, "bad", f"open({str(tmp_path / 'loading')!r}, 'w').close()\nwhile True: signal.pause()")
    os.mkfifo(tmp_path / "loading")
    with subprocess.Popen([sys.executable, "-m", "srkit", "show", "a2n"], stderr=subprocess.PIPE, text=True) as run:
        (tmp_path / "loading").read_text()  # comes back once the plugin is imported
        run.send_signal(signal.SIGINT)
        error = run.stderr.read()
    assert (run.returncode, error) == (
        130,
        "srkit: interrupted while plugin 'bad' of srkit-bad 1.0 was loaded\n",
    )
    monkeypatch.setattr(guard, "LIMIT", 0.0)
    (failure,) = discover().failures
    assert failure.reason == "importing it does not come back within 0 s"


def test_where_all_is_well_nothing_is_left_and_no_other_process_is_asked(sites, marks, monkeypatch):
    add(sites, "fine", "")
    monkeypatch.setattr(guard.sys, "executable", "/no/python")
    assert discover().by_name("fine")
    assert list(marks.iterdir()) == []


def test_a_process_that_a_plugin_forks_ends_as_it_means_to(sites, tmp_path):
    out = tmp_path / "children"
    add(
        sites,
        "forks",
        f"if os.fork() == 0:\n    open({str(out)!r}, 'a').write('child')\n    os._exit(0)\nos.wait()",
    )
    registry = discover()
    assert registry.failures == []
    assert out.read_text() == "child"


def test_what_a_plugin_adds_to_the_path_stays(sites, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    add(sites, "adds", "sys.path = ['/added/first', *sys.path]\nsys.path.append('/added/last')")
    assert discover().failures == []
    assert (sys.path[0], sys.path[-1]) == ("/added/first", "/added/last")
