"""Python processes that start in a moment, each forked from one that has imported torch.

Most of what a short command costs is the import of torch, and of torch._dynamo with its first optimizer: three seconds.
A forked process is spared that and has all else of its own: its number, arguments, environment, folder, open files and
sys.path, and srkit and every plugin are imported by it alone. Not for tests of what a start does: variables that Python
or a library reads once, another locale, a crash of the interpreter, what is imported when, several hash seeds.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

# Seconds after which a process counts as hanging. No test waits for it that passes, on however busy a machine.
HANGS = 1_800

# What is imported before the fork: other people's packages that start no threads, and nothing of srkit.
IMPORTED = (
    *("attrs", "cattrs", "cv2", "filelock", "numpy", "packaging.version", "PIL.Image", "pluggy", "rich.console"),
    *("rich.table", "safetensors.torch", "torch", "torch._dynamo", "torch.nn.utils.parametrizations"),
)


class Process:
    """`python ...` as a forked process, with the methods of subprocess.Popen: its words are "-m" or "-c", and more.

    Pipes are of text. Signals reach the process itself, whose number is `pid`.
    """

    def __init__(
        self,
        *words: object,
        stdin: IO[str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        request = {
            "words": [str(word) for word in words],
            "environment": dict(os.environ if env is None else env),
            "folder": os.getcwd(),
            "umask": _umask(),
        }
        self.args = [sys.executable, *request["words"]]
        self.returncode: int | None = None
        self._wire, theirs = socket.socketpair()
        self.stdout, out = _opened(stdout, 1)
        self.stderr, err = _opened(stderr, 2)
        with theirs:
            socket.send_fds(_server()[1], [b"."], [theirs.fileno(), stdin.fileno() if stdin else 0, out, err])
        for fd in {out, err} - {1, 2}:
            os.close(fd)
        self._wire.sendall(json.dumps(request).encode() + b"\n")
        self.pid = self._told()

    def _told(self) -> int:
        told = self._wire.recv(4)
        assert len(told) == 4, "what forks the tests' processes has ended"
        return int.from_bytes(told, "little", signed=True)

    def poll(self) -> int | None:
        """Return the exit code, below 0 that of a signal, or None while the process lives."""
        if self.returncode is None and select.select([self._wire], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float = HANGS) -> int:
        """Return the exit code once there is one. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._wire], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = self._told()
            self._wire.close()  # until now the number was not given to another process
        return self.returncode

    def communicate(self, timeout: float = HANGS) -> tuple[str, str]:
        """Return all that it writes into its pipes, once it has ended; one that hangs is killed."""
        with ThreadPoolExecutor(2) as readers:
            written = [readers.submit(pipe.read) if pipe else None for pipe in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        out, err = (text.result() if text else "" for text in written)
        self._close()
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _close(self) -> None:
        for pipe in (self.stdout, self.stderr):
            if pipe:
                pipe.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()
        self.wait()


def run(
    *words: object, input: str = "", env: Mapping[str, str] | None = None, timeout: float = HANGS
) -> subprocess.CompletedProcess[str]:
    """Run `python ...` as a forked process, and return it with its output as text."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        file.write(input)
        file.seek(0)
        process = Process(*words, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


def stop() -> None:
    """End the process that forks, if there is one."""
    if _server.cache_info().currsize:
        server, door = _server()
        door.close()
        server.wait()
        _server.cache_clear()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _opened(stream: int | None, own: int) -> tuple[IO[str] | None, int]:
    """Return what is read from, and what is written to."""
    if stream is None:
        return None, own
    if stream == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    assert stream == subprocess.PIPE
    reader, writer = os.pipe()
    return open(reader, encoding="utf-8"), writer


@functools.cache
def _server() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the process that forks, and return it with the door at which it is asked."""
    door, theirs = socket.socketpair()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with theirs:
        server = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=Path(__file__).parent,
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    return server, door


def _serve(door: socket.socket) -> dict[str, Any] | None:
    """Fork whenever one is asked for, until the door is closed. In a forked process, return what it is to be."""
    while True:
        asked, fds, *_ = socket.recv_fds(door, 1, 4)
        if not asked:
            while _waited(0):
                pass
            return None
        if not os.fork():
            door.close()
            return _keep(*fds)
        for fd in fds:
            os.close(fd)
        while _waited(os.WNOHANG):
            pass


def _waited(options: int) -> bool:
    try:
        return os.waitpid(-1, options)[0] > 0
    except ChildProcessError:
        return False


def _keep(wire: int, *fds: int) -> dict[str, Any]:
    """Fork the process and tell of its end, beside which it stays until that was heard; return in the process alone.

    So its number is nobody else's as long as it may be sent a signal.
    """
    with socket.socket(fileno=wire) as told:
        with told.makefile("rb") as lines:
            request: dict[str, Any] = json.loads(lines.readline())
        pid = os.fork()
        if pid:
            for fd in fds:
                os.close(fd)
            try:
                told.sendall(pid.to_bytes(4, "little"))
                ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                told.sendall(code.to_bytes(4, "little", signed=True))
                told.recv(1)
            except OSError:  # nobody listens any more
                os.kill(pid, signal.SIGKILL)
            finally:
                os.waitpid(pid, 0)
                os._exit(0)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    os.closerange(3, max(fds) + 1)
    return request


def _become(request: dict[str, Any], path: list[str]) -> None:
    """Be the process that a new interpreter would be, up to its end: what is raised is left to the interpreter."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    os.umask(request["umask"])
    tempfile.tempdir = None
    way, what, *arguments = request["words"]
    sys.orig_argv[:] = [sys.executable, *request["words"]]
    sys.argv[:] = [way, *arguments]
    added = filter(None, request["environment"].get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = ["" if way == "-c" else request["folder"], *added, *path]
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
    sys.modules["numpy"].random.seed()
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    if way == "-c":
        exec(compile(what, "<string>", "exec"), vars(main))
    else:
        assert way == "-m", way
        runpy.run_module(what, run_name="__main__", alter_sys=True)


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C in a terminal: the tests end this process
    path = sys.path[1:]  # the first is this folder
    for name in IMPORTED:
        importlib.import_module(name)
    if os.path.isdir("/proc/self/task"):  # a thread of before the fork would be missing after it, with what it locked
        assert len(os.listdir("/proc/self/task")) == 1
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy all of their memory
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        _become(request, path)


if __name__ == "__main__":
    _main()
