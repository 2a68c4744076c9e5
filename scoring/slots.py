"""The scoring processes of this worker: one for each thread that scores at the same time, kept from one mini-batch to
the next, and let go when the job is over."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

from .contract import ScoringSpec
from .errors import JobReleased
from .storage import Folder
from .supervisor import LogSink, ScoringProcess

_SCRATCH = "prefect-batch"
ABANDONED_SECONDS = 120.0


class Slots:
    """The scoring processes of one job on this worker.

    Args:
        job: the job's folder; logs go to its `logs/<node>/`.
        spec: what to load; the code folder is copied for each process, so that a script that writes into its
            working directory harms nobody.
        init_timeout: seconds for starting and init().
    """

    def __init__(self, job: Folder, spec: ScoringSpec, init_timeout: float) -> None:
        self._job, self._spec, self._init_timeout = job, spec, init_timeout
        self.node = f"{socket.gethostname()}-{os.getpid()}"
        _sweep()
        self._scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}-{self.node}-"))
        self._lock = threading.Lock()
        self._idle: list[ScoringProcess] = []
        self._all: list[ScoringProcess] = []
        self._released = False
        self._last_used = time.monotonic()
        self.ended = threading.Event()

    def touch(self) -> None:
        """Count as used now."""
        self._last_used = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """How long no process has been in use."""
        with self._lock:
            return time.monotonic() - self._last_used if len(self._idle) == len(self._all) else 0.0

    @contextlib.contextmanager
    def slot(self, sink: LogSink | None) -> Generator[ScoringProcess]:
        """A scoring process for the time of the block. Raises JobReleased once the job is over.

        The sink stays after the block: the last lines that a run() prints may come behind its result.
        """
        process = self._take()
        process.sink = sink
        try:
            yield process
        finally:
            with self._lock:
                self.touch()
                self._idle.append(process)

    def _take(self) -> ScoringProcess:
        with self._lock:
            if self._released:
                raise JobReleased
            if self._idle:
                return self._idle.pop()
            process = self._new(len(self._all))
            self._all.append(process)
            return process

    def _new(self, number: int) -> ScoringProcess:
        spec = self._spec
        if spec.code_dir is not None:
            code = self._scratch / f"code-{number:03d}"
            shutil.copytree(spec.code_dir, code)
            spec = dataclasses.replace(spec, code_dir=str(code))
        return ScoringProcess(spec, self._log_folder() / f"process{number:03d}.log", self._init_timeout)

    def _log_folder(self) -> Path:
        folder = Path(self._job.path) / "logs" / self.node if self._job.is_local else self._scratch / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def release(self, at_once: bool = False) -> None:
        """End all processes, after their shutdown() or at once, and remove what they left."""
        self.ended.set()
        with self._lock:
            self._released = True
            processes, self._all, self._idle = self._all, [], []
        threads = [threading.Thread(target=process.close, args=(at_once,)) for process in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not self._job.is_local:
            for log in sorted((self._scratch / "logs").glob("*.log")):
                self._job.upload(log, f"logs/{self.node}/{log.name}")
        shutil.rmtree(self._scratch, ignore_errors=True)


def _sweep() -> None:
    """Remove the scratch folders of workers of this machine that were killed before they could."""
    mine = re.compile(rf"{_SCRATCH}-{re.escape(socket.gethostname())}-(\d+)-")
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}-*"):
        if (match := mine.match(folder.name)) and not _alive(int(match[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_slots: dict[str, Slots] = {}
_lock = threading.Lock()


def of_job(job_url: str, make: Callable[[], Slots]) -> Slots:
    """This worker's slots for the job, made at the first call."""
    with _lock:
        if job_url not in _slots:
            slots = _slots[job_url] = make()
            threading.Thread(target=_release_when_abandoned, args=(job_url, slots), daemon=True).start()
        _slots[job_url].touch()
        return _slots[job_url]


def _release_when_abandoned(job_url: str, slots: Slots) -> None:
    """On a worker that outlives its jobs: the flow that would let the processes go may have been killed."""
    while not slots.ended.wait(ABANDONED_SECONDS / 4):
        with _lock:  # of_job() touches under it: whoever was just given the slots keeps them
            abandoned = slots.idle_seconds > ABANDONED_SECONDS and _slots.get(job_url) is slots
            if abandoned:
                del _slots[job_url]
        if abandoned:
            slots.release()


def release(job_url: str, at_once: bool = False) -> None:
    """Let the job's processes on this worker go; a job that has none is fine."""
    with _lock:
        slots = _slots.pop(job_url, None)
    if slots is not None:
        slots.release(at_once)
