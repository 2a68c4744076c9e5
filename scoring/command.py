"""Running a step's command to its end: with its log, its time, and all that it started."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from . import guard
from .children import pipe, signal_name
from .errors import JobReleased, StepFailed, StepKilled, StepTimedOut
from .log_pump import LogSink, hand_on, pump

LAST_LINES = 20
_LONGEST_LINE = 500
_LOG_SECONDS = 2.0  # for the last lines, when something that left the group still holds the pipe


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command: the worker's, with its `python` first on PATH, and the step's own over it."""
    found = {**os.environ, "PYTHONUNBUFFERED": "1"}
    found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), found.get("PATH", os.defpath)])
    return {**found, **own}


class RunningCommand:
    """A command under way, and all that it starts in its process group."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.group = process.pid
        self.stopped = False
        self._ended = False
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Kill it, from any thread; run_command() then raises JobReleased."""
        self.stopped = True
        self.kill()

    def kill(self) -> None:
        """Kill the whole group, unless that has ended: the number may be another's by then."""
        with self._lock:
            if not self._ended:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: the latter for one that ended
                    os.killpg(self.group, signal.SIGKILL)

    def close(self) -> None:
        """Kill what is left of the group and wait for the guard."""
        self.kill()
        with self._lock:
            self._process.wait()
            self._ended = True


def run_command(
    argv: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    log_file: Path,
    sink: LogSink | None,
    timeout: float | None = None,
    on_start: Callable[[RunningCommand], None] = lambda _: None,
) -> None:
    """Run a command without a shell. Whatever it has started in its process group is gone when this returns.

    Args:
        argv: the command and its arguments, which arrive letter by letter.
        cwd: working directory.
        environment: the whole of it.
        log_file: local file that all it prints is appended to.
        sink: receives each line, too.
        timeout: seconds.
        on_start: given the command, to stop it from another thread.

    Raises StepFailed with the last lines of its log, StepKilled for one that was killed by a signal, StepTimedOut,
    and JobReleased for one that was stopped.
    """
    last: deque[str] = deque(maxlen=LAST_LINES)

    def take(line: str) -> None:
        last.append(line[:_LONGEST_LINE])
        if sink is not None:
            hand_on(line, sink)

    with ExitStack() as ours:
        process, status = _start(argv, cwd, environment, ours)
        command = RunningCommand(process)
        heading = f"command, process group {command.group}"
        log = threading.Thread(target=pump, args=(process.stdout, log_file, heading, take), daemon=True)
        log.start()
        try:
            on_start(command)
            code = _wait(status, timeout)
        finally:
            command.close()
            log.join(_LOG_SECONDS)
    if command.stopped:
        raise JobReleased
    if (failed := _failure(code, timeout, list(last))) is not None:
        raise failed


def _start(
    argv: Sequence[str], cwd: Path, environment: Mapping[str, str], ours: ExitStack
) -> tuple[subprocess.Popen[bytes], int]:
    """The guard, and where it tells how the command ended. Raises StepFailed."""
    with ExitStack() as theirs:
        lifeline, _ = pipe(theirs, ours)
        status, status_end = pipe(ours, theirs)
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(lifeline), str(status_end), *argv],
                pass_fds=(lifeline, status_end),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # the latter for a NUL in an argument
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise StepFailed(f"the command cannot be started: {reason}") from None
    return process, status


_TIMED_OUT = "timed out"
_LONGEST_WAIT = 24 * 3600 * 24  # seconds: poll() takes milliseconds in 31 bits
_SHELLS_WORD = {128 + number: number for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT)}
"""Exit codes by which a shell says that what it ran was killed."""


def _wait(status: int, timeout: float | None) -> int | str | None:
    """The command's exit code, minus the number of the signal that killed it, None if its guard was killed, or
    _TIMED_OUT."""
    poll = select.poll()
    poll.register(status, select.POLLIN)
    if not poll.poll(None if timeout is None or timeout > _LONGEST_WAIT else 1000 * timeout):
        return _TIMED_OUT
    told = os.read(status, 16)
    return int(told) if told else None


def _failure(code: int | str | None, timeout: float | None, last: list[str]) -> StepFailed | None:
    """What to raise, if anything."""
    if code == 0:
        return None
    log = "\n".join(["; the last lines of its log:", *last]) if last else "; it printed nothing"
    if code == _TIMED_OUT:
        return StepTimedOut(f"took longer than its timeout of {timeout:g} s and was stopped{log}")
    if isinstance(code, int) and code > 0 and code not in _SHELLS_WORD:
        return StepFailed(f"exited with code {code}{log}")
    number = _SHELLS_WORD.get(code, -code) if isinstance(code, int) else signal.SIGKILL
    hint = " (often the machine ran out of memory)" if number == signal.SIGKILL else ""
    return StepKilled(f"was killed by {signal_name(number)}{hint}{log}")
