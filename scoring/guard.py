"""Stands between a worker and a command: starts it, says how it ended, and takes it along when the worker dies.

Started as `python -I -S guard.py <lifeline> <status> <argument>...` in a session of its own, without anything but the
standard library, so that it costs a few milliseconds. It stays until it is killed, and the worker kills the whole
group: so the group's number means this group for as long as somebody may use it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes of a command that cannot be started, as shells have them."""
_SURVIVED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""A script may well end with `kill 0`, which means us too. Handled, not ignored: the command has them as usual."""


def main(lifeline: int, status: int, argv: list[str]) -> None:
    """Run the command; its wait status goes to `status` as a number."""
    for fd in (lifeline, status):
        os.set_inheritable(fd, False)
    for number in _SURVIVED:
        signal.signal(number, _carry_on)
    child = os.fork()
    if child == 0:
        _become(argv)
    threading.Thread(target=_die_with_worker, args=(lifeline,), daemon=True).start()
    _, ended = os.waitpid(child, 0)
    os.write(status, str(os.waitstatus_to_exitcode(ended)).encode())
    os.close(status)
    threading.Event().wait()


def _carry_on(number: int, frame: object) -> None:
    pass


def _become(argv: list[str]) -> None:
    """Turn into the command. What Python ignores by itself must not stay ignored in it."""
    code = NOT_EXECUTABLE
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        os.execvp(argv[0], argv)  # nosec B606 # a deployment's command is its author's
    except FileNotFoundError:
        code, reason = NOT_FOUND, "there is no such command on PATH or in the code folder"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    with contextlib.suppress(OSError):
        os.write(2, f"{argv[0]}: cannot be started: {reason}\n".encode(errors="replace"))
    os._exit(code)


def _die_with_worker(lifeline: int) -> None:
    """Blocks until the other end of the pipe is gone, however its owner died; then takes the whole group along."""
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
