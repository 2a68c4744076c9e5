"""The scoring processes of this worker: one for each thread that scores at the same time, kept from one mini-batch to
the next, and let go when the job is over.

A script may write files of its own to AZUREML_BI_OUTPUT_PATH. Where the output is a local folder, that is the folder.
Where it is an object store, each process has a folder of its own on this machine, and what a successful run() left
there is published to the output before the mini-batch is committed.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import scratch
from .contract import ScoringSpec
from .errors import JobReleased, MiniBatchFailed
from .gpus import Gpus
from .log_pump import LogSink
from .staging import Staging
from .storage import Folder
from .supervisor import ScoringProcess

ABANDONED_SECONDS = 120.0
_UPLOADS = 8


class Slots:
    """The scoring processes of one job on this worker.

    Args:
        job: the job's folder; logs go to its `logs/<node>/`.
        spec: what to load; the code folder is copied for each process, so that a script that writes into its
            working directory harms nobody.
        init_timeout: seconds for starting and init().
        output: the job's output folder, for scripts that write files of their own. A local one they write to as
            `spec.output_dir` says.
        capacity: scoring processes at most at once; None for as many as there are threads.
        sources: the folders of the input, and
        unchanged: whether their files must be as they were planned, and
        workers: how many may share this machine's disk; these three are for staging.
        gpus: of this instance, let go with the processes; process k gets the k-th, those beyond get none.
        memory_limit: bytes that each process may hold.
    """

    def __init__(
        self,
        job: Folder,
        spec: ScoringSpec,
        init_timeout: float,
        output: Folder | None = None,
        capacity: int | None = None,
        sources: Sequence[Folder] = (),
        unchanged: bool = True,
        workers: int = 1,
        gpus: Gpus | None = None,
        memory_limit: int | None = None,
    ) -> None:
        self._job, self._spec, self._init_timeout, self._memory_limit = job, spec, init_timeout, memory_limit
        self._output = None if output is None or output.is_local else output
        self._capacity = capacity
        self._gpus = gpus or Gpus(0)
        self.node = scratch.node()
        self._scratch = scratch.make()
        self.staging = Staging(list(sources), self._scratch / "staged", unchanged, workers)
        self._lock = threading.Condition()
        self._waiting: deque[object] = deque()
        self._users = 0
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
        """How long nobody has been using them."""
        with self._lock:
            return 0.0 if self._users else time.monotonic() - self._last_used

    @contextlib.contextmanager
    def used(self) -> Generator[None]:
        """Count as used for the time of the block, also while files are staged or another process is waited for."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self.touch()

    @contextlib.contextmanager
    def slot(self, sink: LogSink | None) -> Generator[ScoringProcess]:
        """A scoring process for the time of the block, waiting for one if all are in use: first come, first served.

        The sink stays after the block: the last lines that a run() prints may come behind its result.
        Raises JobReleased once the job is over.
        """
        with self.used():
            process = self._take()
            process.sink = sink
            try:
                yield process
            finally:
                with self._lock:
                    self._idle.append(process)
                    self._lock.notify_all()

    def _take(self) -> ScoringProcess:
        ticket = object()
        with self._lock:
            self._waiting.append(ticket)
            try:
                self._lock.wait_for(lambda: self._released or (self._waiting[0] is ticket and self._free))
                if self._released:
                    raise JobReleased
                if self._idle:
                    return self._idle.pop()
                process = self._new(len(self._all))
                self._all.append(process)
                return process
            finally:
                self._waiting.remove(ticket)
                self._lock.notify_all()

    @property
    def _free(self) -> bool:
        return bool(self._idle) or self._capacity is None or len(self._all) < self._capacity

    def publish(self, process: ScoringProcess) -> None:
        """Copy what the script wrote to its output folder to the job's, and empty it. For after a successful run().

        A file of the same name is replaced: an attempt that got this far may have been made before.
        Raises MiniBatchFailed, JobReleased.
        """
        output = self._output
        written = self._written(process)
        if output is None or not written:
            return
        names = [file.relative_to(str(process.spec.output_dir)).as_posix() for file in written]
        try:
            with ThreadPoolExecutor(_UPLOADS) as pool:
                list(pool.map(output.upload, written, names))
        except Exception as error:
            if self._released:
                raise JobReleased from None
            raise MiniBatchFailed(
                f"what run() wrote could not be copied to {output.url}: {error}", type(error).__name__
            ) from error
        self.discard(process)

    def discard(self, process: ScoringProcess) -> None:
        """Remove what the script wrote to its output folder. For after a run() that failed."""
        for file in self._written(process):
            file.unlink(missing_ok=True)

    def _written(self, process: ScoringProcess) -> list[Path]:
        """Files only: folders stay, since an init() that made them is not called again."""
        if self._output is None or process.spec.output_dir is None:
            return []
        return sorted(path for path in Path(process.spec.output_dir).rglob("*") if path.is_file())

    def _new(self, number: int) -> ScoringProcess:
        spec = self._spec
        if spec.code_dir is not None:
            code = self._scratch / f"code-{number:03d}"
            shutil.copytree(spec.code_dir, code)
            spec = dataclasses.replace(spec, code_dir=str(code))
        if self._output is not None:
            written = self._scratch / f"output-{number:03d}"
            written.mkdir()
            spec = dataclasses.replace(spec, output_dir=str(written))
        # A variable that the deployment sets itself stays as it says.
        variables = self._gpus.environment(number) | spec.environment_variables
        spec = dataclasses.replace(spec, environment_variables=variables)
        log = self._log_folder() / f"process{number:03d}.log"
        return ScoringProcess(spec, log, self._init_timeout, memory_limit=self._memory_limit)

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
            self._lock.notify_all()
        threads = [threading.Thread(target=process.close, args=(at_once,)) for process in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._gpus.release()
        self.staging.stop()
        if not self._job.is_local:
            for log in sorted((self._scratch / "logs").glob("*.log")):
                self._job.upload(log, f"logs/{self.node}/{log.name}")
        shutil.rmtree(self._scratch, ignore_errors=True)


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


@atexit.register
def _release_all() -> None:
    """What a task made that came after its job was released has nobody else."""
    for job_url in list(_slots):
        release(job_url, at_once=True)


def any_held() -> bool:
    """Whether this worker has processes of any job."""
    with _lock:
        return bool(_slots)
