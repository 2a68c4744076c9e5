"""The other end of a scoring process: starts it, asks it, bounds its time, kills and replaces it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from . import rows
from .contract import ItemError, Scored, ScoringSpec
from .errors import InitFailed, JobReleased, MiniBatchFailed, ProcessDied, RunTimedOut

LogSink = Callable[[int, str], None]
"""Takes a level of the logging module and a line without its end."""

SHUTDOWN_SECONDS = 10.0
# As Dask pins them for its workers: several scoring processes a machine would else fight over its cores.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")


class ScoringProcess:
    """One child process at a time; a dead one is replaced by the next call.

    Args:
        spec: what to load.
        log_file: local file that all it prints and logs is appended to.
        init_timeout: seconds that starting and init() may take.
        sink: receives each printed or logged line; may be set anew at any time.
    """

    def __init__(self, spec: ScoringSpec, log_file: Path, init_timeout: float, sink: LogSink | None = None) -> None:
        self.spec, self.log_file, self.init_timeout, self.sink = spec, log_file, init_timeout, sink
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The child's process id while there is a child."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start the child and run init(), unless that has been done. Raises InitFailed."""
        if self._child is not None:
            return
        self._spawn()
        try:
            self._requests.send_bytes(json.dumps(self.spec.to_dict()).encode())
            answer = self._receive(self.init_timeout)
        except RunTimedOut as error:
            self.kill()
            raise InitFailed(
                f"init() took longer than {self.init_timeout:g} s (3 x retry_settings.timeout + 30 s): "
                "raise retry_settings.timeout"
            ) from error
        except ProcessDied as error:
            raise InitFailed(f"init() failed: {error}") from error
        if not answer["ok"]:
            self.kill()
            what = "init() failed" if self.spec.scoring_script else "the MLflow model could not be loaded"
            raise InitFailed(f"{what}: {answer['error_type']}: {answer['message']}\n{answer['traceback']}".rstrip())

    def run(self, paths: list[str], names: list[str], timeout: float, final: bool) -> Scored:
        """Score one mini-batch in at most `timeout` seconds.

        Raises MiniBatchFailed (also RunTimedOut and ProcessDied; the process is then gone) or InitFailed.
        """
        self.start()
        try:
            self._requests.send_bytes(json.dumps({"paths": paths, "names": names, "final": final}).encode())
            answer = self._receive(timeout)
            if not answer["ok"]:
                raise MiniBatchFailed(answer["message"], answer["error_type"], answer["traceback"])
            data = self._replies.recv_bytes()
        except RunTimedOut:
            self.kill()
            raise RunTimedOut(
                f"run() took longer than retry_settings.timeout = {timeout:g} s and was stopped: "
                "raise the timeout or lower mini_batch_size"
            ) from None
        except (EOFError, OSError):
            raise self._died() from None
        errors = [ItemError(**error) for error in answer["errors"]]
        return Scored(rows.Chunk(data, answer["rows"], answer["columns"]), answer["failed"], errors)

    def close(self, at_once: bool = False) -> None:
        """End the process for good: after the script's shutdown(), which has 10 seconds, or at once."""
        self._closed = True
        child = self._child
        if child is not None and not at_once:
            try:
                self._requests.send_bytes(b"null")
                child.wait(SHUTDOWN_SECONDS)
            except (OSError, subprocess.TimeoutExpired):
                pass
        self.kill()

    def kill(self) -> None:
        """End the process, and all that it started in its group, at once."""
        with self._lock:
            child, self._child = self._child, None
            if child is None:
                return
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
            for end in (self._requests, self._replies):
                end.close()
            os.close(self._lifeline)
        self._pump.join(timeout=1.0)

    def _spawn(self) -> None:
        if self._closed:
            raise JobReleased
        requests_in, requests_out = os.pipe()
        replies_in, replies_out = os.pipe()
        lifeline_in, self._lifeline = os.pipe()
        theirs = (requests_in, replies_out, lifeline_in)
        command = [sys.executable, "-P", "-m", "prefect_batch.scoring.process", *map(str, theirs)]
        try:
            self._child = subprocess.Popen(
                command,
                pass_fds=theirs,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,
            )
        finally:
            for fd in theirs:
                os.close(fd)
        self._requests = Connection(requests_out, readable=False)
        self._replies = Connection(replies_in, writable=False)
        assert self._child.stdout is not None
        self._pump = threading.Thread(target=self._pump_log, args=(self._child.stdout, self._child.pid), daemon=True)
        self._pump.start()

    def _environment(self) -> dict[str, str]:
        environment = {**_ONE_THREAD, **os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        if self.spec.model_dir:
            environment["AZUREML_MODEL_DIR"] = self.spec.model_dir
        if self.spec.output_dir:
            environment["AZUREML_BI_OUTPUT_PATH"] = self.spec.output_dir
        return {**environment, **self.spec.environment_variables}

    def _receive(self, timeout: float) -> dict[str, Any]:
        """The next reply. A child may fork children that keep its end of the pipe open, so that its death shows
        only in its own state: hence the look at it every half second."""
        deadline = time.monotonic() + timeout
        try:
            while not self._replies.poll(max(0.0, min(0.5, deadline - time.monotonic()))):
                child = self._child
                if child is None or (child.poll() is not None and not self._replies.poll(0)):
                    raise self._died()
                if time.monotonic() >= deadline:
                    raise RunTimedOut
            return json.loads(self._replies.recv_bytes())
        except (EOFError, OSError):
            raise self._died() from None

    def _died(self) -> ProcessDied:
        child = self._child
        if child is None:
            return ProcessDied("the scoring process was stopped")
        try:
            code = child.wait(1.0)
        except subprocess.TimeoutExpired:
            code = None  # it lives, but closed its end: of no more use
        self.kill()
        if code is None:
            return ProcessDied("the scoring process closed its connection and was stopped")
        if code < 0:
            name = signal.Signals(-code).name
            hint = ": often the machine ran out of memory" if name == "SIGKILL" else ""
            return ProcessDied(f"the scoring process was killed by {name}{hint}")
        return ProcessDied(f"the scoring process exited with code {code}")

    def _pump_log(self, stream: IO[bytes], pid: int) -> None:
        """Append what the child prints to its log file and hand it to the sink, line by line."""
        with stream, self.log_file.open("ab", buffering=0) as log:
            log.write(f"--- scoring process {pid}\n".encode())
            while line := stream.readline(65_536):
                log.write(line)
                text = line.decode(errors="replace").rstrip()
                match = _LOGGED.match(text)
                if self.sink is not None and text:
                    self.sink(_LEVELS[match[1]] if match else _LEVELS["INFO"], text[match.end() :] if match else text)
