"""A process that has imported what others need, and forks them: `python -P -m prefect_batch.scoring.fork_server`.

Importing Prefect, or MLflow with scikit-learn, takes seconds; a fork of a process that has, milliseconds. Runs modules
as `python -m` would, in sessions of their own. It ends when its stdin is closed and the last of them has ended, and
removes its socket and the folder of it, if nothing else is there; one whose caller is gone is killed. See forked.py for
the other end. For Linux.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import priority

MESSAGE_BYTES, MAX_FDS = 1 << 20, 16
_CALLER_SECONDS = 5.0
_PRCTL, _PR_SET_PDEATHSIG, _PR_SET_NAME = ctypes.CDLL(None).prctl, 1, 15


def main(path: str, modules: Sequence[str]) -> Callable[[], None] | None:
    """Serve at a socket of that path; in a fork, returns what it is to run.

    Args:
        path: of the socket.
        modules: to import first; one that cannot be is left out.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"{path}.new")
        listener.listen(64)  # who calls already waits for the imports, which it would else do itself
        Path(f"{path}.new").rename(path)
        for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signal_number, signal.SIG_IGN)  # meant for those who were forked; for us, stdin is closed
        for module in modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        if len(list(Path("/proc/self/task").iterdir())) > 1:
            sys.stderr.write("prefect-batch: an import has started threads: nothing is forked here\n")
            return None
        gc.collect()
        gc.freeze()  # what was imported is never garbage: left alone, its pages stay shared
        return _Server(listener).serve()


class _Server:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._callers: dict[int, socket.socket] = {}
        """By the process that was forked for each."""
        self._selector = selectors.DefaultSelector()
        self._open = True

    def serve(self) -> Callable[[], None] | None:
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for source in (self._listener, sys.stdin, woken):
            self._selector.register(source, selectors.EVENT_READ)
        while self._open or self._callers:
            for key, _ in self._selector.select():
                if self._selector.get_map().get(key.fd) is not key:
                    continue  # what came before it in this round has done away with it
                if key.fileobj is self._listener:
                    if (run := self._fork()) is not None:
                        os.close(woken)
                        os.close(wake)
                        return run
                elif key.fileobj is sys.stdin:
                    self._close()
                elif key.fileobj == woken:
                    os.read(woken, 4096)
                    self._reap()
                else:
                    self._kill(key.data)
        return None

    def _close(self) -> None:
        if not os.read(0, 4096):
            self._open = False
            self._selector.unregister(sys.stdin)
            self._selector.unregister(self._listener)
            self._listener.close()

    def _fork(self) -> Callable[[], None] | None:
        """In the fork, what to run."""
        caller, _ = self._listener.accept()
        caller.settimeout(_CALLER_SECONDS)
        fds = list[int]()
        try:
            uid = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
            data, fds = _receive(caller)
            if uid != os.getuid():
                raise PermissionError
            request: dict[str, Any] = json.loads(data)
            heard, ready = os.pipe()
            pid = os.fork()
        except (OSError, ValueError):
            caller.close()
            _close_all(fds)
            return None
        if pid == 0:
            _become_a_leader()
            _close_all([heard, ready])
            self._forget_all([caller, *self._callers.values()])
            return partial(_run, request, fds)
        _close_all([ready, *fds])
        os.read(heard, 1)  # nobody is told of it before it can be sent signals
        os.close(heard)
        self._callers[pid] = caller
        self._selector.register(caller, selectors.EVENT_READ, pid)
        with contextlib.suppress(OSError):  # a caller that has gone is seen in its turn
            caller.send(json.dumps({"pid": pid}).encode())
        return None

    def _forget_all(self, callers: list[socket.socket]) -> None:
        self._selector.close()
        for one in (self._listener, *callers):
            one.close()

    def _reap(self) -> None:
        for pid in list(self._callers):
            found, status = os.waitpid(pid, os.WNOHANG)
            if not found:
                continue
            caller = self._callers.pop(pid)
            with contextlib.suppress(KeyError):
                self._selector.unregister(caller)
            with contextlib.suppress(OSError):
                caller.send(json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode())
            caller.close()

    def _kill(self, pid: int) -> None:
        """Its caller has gone, or sends what it must not."""
        self._selector.unregister(self._callers[pid])
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _do_nothing(number: int, frame: object) -> None:
    """A signal without a handler wakes nobody."""


def _receive(caller: socket.socket) -> tuple[bytes, list[int]]:
    numbers = array.array("i")
    data, ancillary, _, _ = caller.recvmsg(MESSAGE_BYTES, socket.CMSG_SPACE(MAX_FDS * numbers.itemsize))
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    return data, list(numbers)


def _become_a_leader() -> None:
    """Of a session, which heeds signals, and is killed when we are: nobody would learn any more how it ended."""
    os.setsid()
    priority.lead_session()
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for signal_number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(signal_number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _run(request: dict[str, Any], fds: list[int]) -> None:
    """Make of this fork the process that was asked for, and be it."""
    for number, fd in enumerate(fds[:3] or [os.open(os.devnull, os.O_RDONLY)]):
        os.dup2(fd, number)
        os.close(fd)
    others = fds[3:]
    for fd in others:
        os.set_inheritable(fd, True)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    module, *arguments = request["command"]
    _PRCTL(_PR_SET_NAME, ".".join(module.split(".")[-2:]).encode())  # its command line stays that of its fork server
    sys.argv = [module, *arguments, *map(str, others)]
    gc.unfreeze()
    _start_anew()
    sys.modules.pop(module, None)  # imported by another, and now run for itself
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _start_anew() -> None:
    """What libraries have made of the environment, and of chance, when they were imported."""
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()  # or all forks would draw the same numbers
    if (config := sys.modules.get("dask.config")) is not None:
        config.refresh()
    if (context := sys.modules.get("prefect.context")) is not None:
        context.refresh_global_settings_context()


if __name__ == "__main__":
    _process = main(sys.argv[1], sys.argv[2:])
    if _process is not None:
        _process()
    else:
        with contextlib.suppress(OSError):
            Path(sys.argv[1]).unlink()
            Path(sys.argv[1]).parent.rmdir()
