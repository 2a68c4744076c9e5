"""Processes that a fork server forks: asks it for one, and tells how it ended.

Also a program, which stands in for such a process where a command is wanted: `python -S -E forked.py SOCKET MODULE
[ARGUMENT ...]` behaves as `python -m MODULE [ARGUMENT ...]`, signals and exit code included. With `--aloof` before the
socket the module reads nothing, and prints where the fork server does: it need not mind that whoever started it, and
reads what it prints, is gone. It needs nothing but the standard library, and little of that.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys

ALOOF = "--aloof"
ANSWER_SECONDS = 30.0
_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class ForkedProcess:
    """One that runs, with as much of subprocess.Popen as its users need. It leads a session of its own.

    Attributes:
        pid: its process id.
        returncode: how it ended, as Popen says it; None while it runs.
    """

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection, self.pid = connection, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired after so many seconds."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(["fork", str(self.pid)], timeout or 0)
        return code

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._connection, select.POLLIN)
            if poll.poll(None if timeout is None else 1000 * timeout):
                try:
                    told = self._connection.recv(4096)
                except ConnectionError:
                    told = b""
                # Without its fork server nobody learns how it ended; and with that, it has.
                self.returncode = json.loads(told)["code"] if told else -signal.SIGKILL
                self._connection.close()
        return self.returncode


def fork(
    server: str | None, command: list[str], environment: dict[str, str], folder: str, fds: list[int]
) -> ForkedProcess | None:
    """A process of the fork server that has its socket there; None where there is none, or it does not answer.

    Args:
        server: path of the socket, if there is one.
        command: a module and its arguments.
        environment: all its variables.
        folder: that it starts in.
        fds: its stdin, stdout and stderr; others get numbers of their own, which are appended to the arguments. With
            none at all it reads nothing, and prints where the fork server does.
    """
    if server is None:
        return None
    request = json.dumps({"command": command, "environment": environment, "folder": folder}).encode()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(ANSWER_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(request) + 4096)
        connection.connect(server)
        handed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        connection.sendmsg([request], handed)
        answer = connection.recv(4096)
        if answer:
            connection.settimeout(None)
            return ForkedProcess(connection, json.loads(answer)["pid"])
    except OSError:
        pass
    connection.close()
    return None


def main(*arguments: str) -> None:
    """Be the process for whoever started this one."""
    aloof = arguments[0] == ALOOF
    server, *command = arguments[aloof:]
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)  # until there is whom to hand them to
    folder = os.getcwd()  # noqa: PTH109 - pathlib takes longer to import than all the rest
    process = fork(server, command, dict(os.environ), folder, [] if aloof else [0, 1, 2])
    if process is None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
        os.execv(sys.executable, [sys.executable, "-m", *command])  # nosec B606 # our own module
    for number in _HANDED_ON:
        signal.signal(number, lambda got, _: _send(process.pid, got))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
    code = process.wait()
    if code < 0:
        if -code in _HANDED_ON:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
