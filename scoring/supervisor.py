"""The other end of a scoring process: starts it, asks it, bounds its time, kills and replaces it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import psutil

from . import builder, forked, messages
from .children import pipe, signal_name
from .contract import ItemError, Scored, ScoringSpec
from .encoded import Chunk
from .errors import BatchError, InitFailed, JobReleased, MiniBatchFailed, ProcessDied, RunTimedOut
from .items import LocalItem
from .log_pump import LogSink, hand_on, pump

SHUTDOWN_SECONDS = 10.0
_MODULE = f"{__package__}.process"
FORK_SERVER = "PREFECT_BATCH_SCORING_FORK_SERVER"
"""Variable with the socket of a fork server on this machine that has imported what most models need."""
# As Dask pins them for its workers: several scoring processes a machine would else fight over its cores.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class ScoringProcess:
    """One child process at a time; a dead one is replaced by the next call.

    start() and run() are for one thread at a time; close() may come from any.

    Args:
        spec: what to load.
        log_file: local file that all it prints and logs is appended to.
        init_timeout: seconds that starting and init() may take.
        sink: receives each printed or logged line; may be set anew at any time.
        memory_limit: bytes that the child may hold (resident, pages that it shares with others included), if bounded.
    """

    def __init__(
        self,
        spec: ScoringSpec,
        log_file: Path,
        init_timeout: float,
        sink: LogSink | None = None,
        memory_limit: int | None = None,
    ) -> None:
        self.spec, self.log_file, self.init_timeout, self.sink = spec, log_file, init_timeout, sink
        self.memory_limit = memory_limit
        self._child: _Child | None = None
        self._closed = False
        self._lock = threading.Lock()  # guards _child and _closed
        self._busy = threading.Lock()  # held by who talks to the child: nobody else closes what it reads from

    @property
    def pid(self) -> int | None:
        """The child's process id while there is a child."""
        child = self._child
        return child.pid if child else None

    def start(self) -> None:
        """Start the child and run init(), unless that has been done. Raises InitFailed, JobReleased."""
        with self._busy:
            self._ready()

    def run(self, items: list[LocalItem], timeout: float, final: bool) -> Scored:
        """Score one mini-batch in at most `timeout` seconds.

        Raises MiniBatchFailed (also RunTimedOut and ProcessDied; the process is then gone), InitFailed, or
        JobReleased when the process was closed meanwhile.
        """
        with self._busy:
            child, wait = self._ready(), _deadline(timeout)
            try:
                child.send({"items": [asdict(item) for item in items], "final": final}, wait)
                answer = child.receive(wait)
                data = child.receive_bytes(wait) if answer["ok"] else b""
            except TimeoutError:
                self._discard()
                raise RunTimedOut(
                    f"run() took longer than retry_settings.timeout = {timeout:g} s and was stopped: "
                    "raise the timeout or lower mini_batch_size"
                ) from None
            except MemoryError as error:
                self._discard()
                advice = "lower mini_batch_size or raise memory_limit"
                raise ProcessDied(f"run() {error}: {advice}", "MemoryLimit") from None
            except (EOFError, OSError):
                raise self._died() from None
        if not answer["ok"]:
            raise MiniBatchFailed(answer["message"], answer["error_type"], answer["traceback"])
        errors = [ItemError(**error) for error in answer["errors"]]
        return Scored(Chunk(data, answer["rows"], answer["columns"]), answer["failed"], errors)

    def close(self, at_once: bool = False) -> None:
        """End the process for good: after the script's shutdown(), which has 10 seconds, or at once.

        A run() in another thread has the same 10 seconds, or none; it then raises JobReleased.
        """
        deadline = _deadline(SHUTDOWN_SECONDS)
        with self._lock:
            self._closed = True  # from here on none is started
        if at_once or not self._busy.acquire(timeout=SHUTDOWN_SECONDS):
            self._kill()
            self._busy.acquire()  # soon: what it waits for is dead
        try:
            if self._child is not None and not at_once:
                with contextlib.suppress(OSError):
                    self._child.send(None, deadline)
                    self._child.exit_code(deadline)
            self._discard()
        finally:
            self._busy.release()

    def _ready(self) -> _Child:
        """A child that is initialised. Called by who is busy, as are all below."""
        if self._child is not None and not self._child.alive:
            self._discard()  # it died while it had nothing to do: no mini-batch is to blame
        if self._child is not None:
            return self._child
        with self._lock:
            if self._closed:
                raise JobReleased
            try:
                child = self._child = _Child(
                    self._command(), self._environment(), self._fork_server(), self._pump_log, self.memory_limit
                )
            except OSError as error:
                raise InitFailed(f"no scoring process could be started: {error}") from error
        try:
            wait = _deadline(self.init_timeout)
            child.send(self.spec.to_dict(), wait)
            answer = child.receive(wait)
        except TimeoutError:
            self._discard()
            raise InitFailed(
                f"init() took longer than {self.init_timeout:g} s (3 x retry_settings.timeout + 30 s): "
                "raise retry_settings.timeout"
            ) from None
        except MemoryError as error:
            self._discard()
            raise InitFailed(f"init() {error}: raise memory_limit") from None
        except (EOFError, OSError):
            died = self._died()
            raise died if isinstance(died, JobReleased) else InitFailed(f"init() failed: {died}") from None
        if not answer["ok"]:
            self._discard()
            what = "init() failed" if self.spec.scoring_script else "the MLflow model could not be loaded"
            raise InitFailed(f"{what}: {answer['error_type']}: {answer['message']}\n{answer['traceback']}".rstrip())
        return child

    def _kill(self) -> None:
        """End the child, and leave the tidying up to who is busy with it."""
        with self._lock:
            if self._child is not None:
                self._child.kill()

    def _discard(self) -> None:
        """End the child, if there is one, and let go of all that belongs to it."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.close()

    def _died(self) -> BatchError:
        """Why the child is gone, after the last of it was let go."""
        child = self._child
        assert child is not None
        try:
            code = child.exit_code(_deadline(1.0))
        except TimeoutError:
            code = None  # it lives, but closed its end: of no more use
        self._discard()
        if self._closed:
            return JobReleased()
        if code is None:
            return ProcessDied("the scoring process closed its connection and was stopped")
        if code < 0:
            hint = ": often the machine ran out of memory" if -code == signal.SIGKILL else ""
            return ProcessDied(f"the scoring process was killed by {signal_name(-code)}{hint}")
        return ProcessDied(f"the scoring process exited with code {code}")

    def _command(self) -> list[str]:
        if self.spec.python is None:
            return [sys.executable, "-P", "-m", _MODULE]
        return [self.spec.python, str(Path(__file__).with_name("bootstrap.py"))]

    def _environment(self) -> dict[str, str]:
        environment = {**ONE_THREAD, **os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        if self.spec.python is not None:
            environment = builder.within(self.spec.python, environment)
        if self.spec.model_dir:
            environment["AZUREML_MODEL_DIR"] = self.spec.model_dir
        if self.spec.output_dir:
            environment["AZUREML_BI_OUTPUT_PATH"] = self.spec.output_dir
        return {**environment, **self.spec.environment_variables}

    def _fork_server(self) -> str | None:
        """Where it can be forked: what is imported there has read other variables than those that a user sets."""
        ours = self.spec.python is None and not self.spec.environment_variables
        pinned = all(os.environ.get(name, value) == value for name, value in ONE_THREAD.items())
        return os.environ.get(FORK_SERVER) if ours and pinned else None

    def _pump_log(self, stream: IO[bytes], pid: int) -> None:
        pump(stream, self.log_file, f"scoring process {pid}", self._hand_on)

    def _hand_on(self, text: str) -> None:
        sink = self.sink  # read once: another thread may unset it
        if sink is not None:
            hand_on(text, sink)


class _Child:
    """One child and the pipes to it. Reading, writing and close() are for one thread at a time."""

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        fork_server: str | None,
        pump: Callable[[IO[bytes], int], None],
        memory_limit: int | None,
    ) -> None:
        self._memory_limit = memory_limit
        with ExitStack() as theirs, ExitStack() as ours:
            requests, self._requests = pipe(theirs, ours)
            self._replies, replies = pipe(ours, theirs)
            lifeline, _ = pipe(theirs, ours)
            read, written = pipe(theirs, theirs)
            nothing = theirs.enter_context(Path(os.devnull).open("rb")).fileno()
            fds = [requests, replies, lifeline]
            self._process = forked.fork(
                fork_server, [_MODULE], environment, str(Path.cwd()), [nothing, written, written, *fds]
            ) or subprocess.Popen(
                [*command, *map(str, fds)],
                pass_fds=fds,
                stdin=nothing,
                stdout=written,
                stderr=written,
                env=environment,
                start_new_session=True,
            )
            self.pid = self._process.pid
            log = os.fdopen(os.dup(read), "rb")
            self._pump = threading.Thread(target=pump, args=(log, self.pid), daemon=True)
            self._pump.start()
            self._ours = ours.pop_all()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, message: dict[str, Any] | None, deadline: float) -> None:
        messages.send(self._requests, json.dumps(message).encode(), self._until(deadline))

    def receive(self, deadline: float) -> dict[str, Any]:
        return json.loads(self.receive_bytes(deadline))

    def receive_bytes(self, deadline: float) -> bytes:
        """The next message. Raises TimeoutError, and EOFError or OSError once the child is gone."""
        return messages.receive(self._replies, self._until(deadline))

    def exit_code(self, deadline: float) -> int:
        """The child's exit code once it has ended. Raises TimeoutError."""
        try:
            return self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None

    def kill(self) -> None:
        """End the child, and all that it started in its group, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: the latter for one that has ended
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill it, and let go of the process and the pipes."""
        self.kill()
        self._process.wait()
        self._ours.close()
        self._pump.join(timeout=1.0)

    def _until(self, deadline: float) -> messages.Wait:
        """A child may have forked children that keep its end of a pipe open, so that its death shows only in its own
        state: hence the look at it every half second, which also bounds its memory."""

        def wait(fd: int, event: int) -> None:
            poll = select.poll()
            poll.register(fd, event)
            while not poll.poll(1000 * max(0.0, min(0.5, deadline - time.monotonic()))):
                if not self.alive and not poll.poll(0):
                    raise EOFError
                if time.monotonic() >= deadline:
                    raise TimeoutError
                self._check_memory()

        return wait

    def _check_memory(self) -> None:
        """Raises MemoryError where it holds more than it may."""
        if self._memory_limit is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            held = psutil.Process(self.pid).memory_info().rss
            if held > self._memory_limit:
                raise MemoryError(f"held {held / 2**20:.0f} MiB, more than memory_limit, and was stopped")


def _deadline(seconds: float) -> float:
    return time.monotonic() + seconds
