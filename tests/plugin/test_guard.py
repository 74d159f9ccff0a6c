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


CRASHES = {
    "ctypes.string_at(0)": "SIGSEGV",
    "os.kill(os.getpid(), signal.SIGSEGV)": "SIGSEGV",
    "os.chdir('/'); os.environ.clear(); os.abort()": "SIGABRT",
    "from threading import Thread\nthread = Thread(target=os.abort)\nthread.start(); thread.join()": "SIGABRT",
}


@pytest.mark.parametrize("body", CRASHES)
def test_the_first_command_survives_a_crash_with_a_line(sites, srkit_command, body):
    add(sites, "bad", body)
    add(sites, "fine", "")
    reason = f"plugin 'bad' of srkit-bad 1.0 failed to load: importing it ends the process by {CRASHES[body]}"
    for _ in range(2):
        run = srkit_command("show", "hflip")
        assert (run.returncode, run.stdout.split()[0], run.stderr) == (0, "hflip", f"{reason}\n")
    run = srkit_command("list", "loss")
    assert run.stdout.splitlines()[-1] == f"broken  {reason}"
    assert run.stderr == ""


def test_a_file_that_crashes_is_a_line(srkit_command, tmp_path):
    (tmp_path / "bad.py").write_text("import ctypes\nctypes.string_at(0)\n")
    for _ in range(2):
        run = srkit_command("-p", "bad.py", "show", "a2n")
        told = "srkit show: -p bad.py: importing it ends the process by SIGSEGV\n"
        assert (run.returncode, run.stdout, run.stderr) == (2, "", told)


def test_a_plugin_that_crashes_in_commands_alone_ends_the_second_try(sites, srkit_command, tmp_path):
    count = tmp_path / "count"
    add(sites, "bad", f"open({str(count)!r}, 'a').write('x')\nif 'show' in sys.argv: ctypes.string_at(0)")
    assert srkit_command("show", "a2n").returncode == -signal.SIGSEGV
    assert count.read_text() == "xxx"  # in the command, in the process that tries it, in the command once more


def test_where_no_mark_can_be_left_a_crash_ends_the_command(sites, srkit_command, marks):
    add(sites, "bad", f"os.rename({str(marks)!r}, {str(marks) + '.gone'!r})\nos.abort()")
    assert srkit_command("show", "a2n").returncode == -signal.SIGABRT


def test_a_plugin_that_crashes_in_a_program_of_others_does_not_begin_that_again(sites):
    add(sites, "bad", "os.abort()")
    program = "import srkit; print('begun', flush=True); srkit.components()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGABRT, "begun\n")


# It rings the clock itself, so that no test waits.
ENDLESS = "signal.setitimer(signal.ITIMER_REAL, 1e-3)\nwhile True:\n    try: signal.pause()\n    except Exception: pass"


def test_the_first_command_survives_what_never_comes_back_with_a_line(sites, srkit_command, marks):
    add(sites, "bad", ENDLESS)
    add(sites, "fine", "")
    run = srkit_command("show", "hflip")
    assert (run.returncode, run.stdout.split()[0]) == (0, "hflip")
    reason = "importing it does not come back within 60 s"
    assert run.stderr == f"plugin 'bad' of srkit-bad 1.0 failed to load: {reason}\n"
    assert len(list(marks.iterdir())) == 1  # the next command does not wait for it


def test_the_clock_is_given_back(sites):
    add(sites, "bad", ENDLESS)
    (failure,) = discover().failures
    assert failure.reason == "importing it does not come back within 60 s"
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_a_plugin_sets_for_crashes_stays(sites, srkit_command):
    add(sites, "fine", "import faulthandler\nfaulthandler.enable()")
    path = sites.folder / "crash_later.py"
    path.write_text(
        "import ctypes, srkit\ndef make():\n    ctypes.string_at(0)\n" + plugin('"loss", "later", "crash_later:make"')
    )
    run = srkit_command("-p", "crash_later", "check-plugin", "later")
    assert run.returncode == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in run.stderr


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
