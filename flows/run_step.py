"""One step of a pipeline on one worker: what a task does, and a thread of a trial run. Knows neither Prefect nor
Dask."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from ..blocks.acting import acting_as
from ..blocks.command_line import as_argument, parse_command
from ..blocks.component import Step
from ..blocks.datastore import open_folder
from ..blocks.interface import Literals
from ..scoring.command import RunningCommand, environment, run_command
from ..scoring.errors import BatchError, JobReleased, StepFailed, StepKilled, StepTimedOut, StorageFailed
from ..scoring.log_pump import LogSink
from . import reuse
from .commit import check_free, commit, read_result, stands
from .pipeline_job import DataValue, OutputPlace, PipelineJob
from .pipeline_summary import CANCELLED, COMPLETED, FAILED
from .step_files import StepFiles, output_key, sweep
from .step_result import StepResult
from .step_values import graph_of, input_values, output_places, record_of, step_of

LOG, ATTEMPTS = "log.txt", "attempts"
_WARNING, _INFO = 30, 20
_STOP_SECONDS = 10.0


def attempts_allowed(step: Step) -> int:
    """How often a step may be started in one run of its job, lost machines included."""
    return step.retries.max_retries if step.retries is not None else 3


def run_step(job_root: str, step: str, run: int, sink: LogSink | None = None, used: int = 0) -> StepResult:
    """Run a step to its end: take an earlier output where that is allowed, else start the command, also again where
    its retry settings say so, and commit what it wrote.

    A step that has been done before in this job, and whose outputs still stand, only gives its result again.
    Whatever goes wrong with the step is a result that says so. Raises NotFound for a job or a step that is not there,
    and StorageFailed or OSError for a record that cannot be read.

    Args:
        job_root: reference of the job's folder.
        step: its name in the graph.
        run: how often the job has been started.
        sink: receives each line that the command prints.
        used: attempts of this run that were lost with their machines.
    """
    job = PipelineJob.load(open_folder(job_root))
    began = time.monotonic()
    running = _Running(job, step, run, sink or (lambda _, __: None), used)
    try:
        _register(job_root, running)
        with acting_as(job.caller):
            result = finished(job, step) or running.to_its_end()
    except JobReleased:
        result = StepResult(name=step, state=CANCELLED, message="was stopped", attempts=running.attempts)
    except (BatchError, OSError) as error:
        result = StepResult(name=step, state=FAILED, message=str(error), attempts=running.attempts)
    finally:
        _deregister(job_root, running)
    seconds = time.monotonic() - began
    return result if result.completed else result.model_copy(update={"seconds": round(seconds, 3)})


def finished(job: PipelineJob, step: str) -> StepResult | None:
    """The result of a step that this job has done, if all its outputs still stand as they were committed."""
    result = read_result(record_of(job, step))
    return result if result is not None and stands(result) else None


def sweep_outputs(job: PipelineJob) -> None:
    """Remove what steps that were killed with their workers have left beside local outputs. For the end of a job."""
    for step in graph_of(job).jobs:
        with suppress(BatchError, OSError), acting_as(job.caller):
            for name, place in output_places(job, step).items():
                if (final := place.location.open()).is_local:
                    sweep(Path(final.path).resolve(), output_key(_key(job, step), name))


def _key(job: PipelineJob, step: str) -> str:
    return f"{job.root}/{step}"


class _Running:
    """A step under way in this process."""

    def __init__(self, job: PipelineJob, step: str, run: int, sink: LogSink, used: int) -> None:
        self.job, self.step, self.run, self._sink = job, step, run, sink
        self.attempts = used
        self.stopped, self.ended = threading.Event(), threading.Event()
        self._about = step_of(job, step)
        self._record = record_of(job, step)
        self._command: RunningCommand | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        with self._lock:
            self.stopped.set()
            if self._command is not None:
                self._command.stop()

    def to_its_end(self) -> StepResult:
        """Raises BatchError."""
        values, places = input_values(self.job, self.step), output_places(self.job, self.step)
        key = reuse.fingerprint(self.job, self.step, values)
        if key is not None and (taken := self._reused(key, places)) is not None:
            return taken
        for name, place in places.items():
            check_free(self._record, name, place.location, place.is_file)
        allowed = attempts_allowed(self._about)
        if not self.job.compute.is_preemptible:  # there, who was on a lost node is not to blame
            self.attempts = max(self.attempts, self._begun())
        if self.attempts >= allowed:
            raise StepKilled(f"the worker that ran it died ({self.attempts} of {allowed} attempts)")
        while True:
            self.attempts += 1
            self._record.make().put(f"{ATTEMPTS}/{self.run:03d}-{uuid4().hex}", b"")
            try:
                result = self._attempt(values, places)
            except StepFailed as error:
                again = isinstance(error, (StepKilled, StepTimedOut)) or self._about.retries is not None
                if not again or self.attempts >= allowed:
                    which = f"attempt {self.attempts} of {allowed} " if self.attempts > 1 else ""
                    raise type(error)(f"{which}{error}") from None
                self._sink(_WARNING, f"attempt {self.attempts} of {allowed} {str(error).splitlines()[0]}; trying again")
            else:
                if key is not None:
                    reuse.note(self.job, key, result, values)
                return result

    def _begun(self) -> int:
        """Attempts of this run, also those that died with their workers: a scheduler that is not ours starts the step
        again without a word."""
        return sum(name.startswith(f"{self.run:03d}-") for name in (self._record / ATTEMPTS).names())

    def _reused(self, key: str, places: Mapping[str, OutputPlace]) -> StepResult | None:
        """The result with the outputs of an earlier step, unless one was to be written to a place that was named."""
        if self.job.settings.force_rerun or any(place.given for place in places.values()):
            return None
        earlier = reuse.find(self.job, key)
        if earlier is None or earlier.job == self.job.id:
            return None
        self._sink(_INFO, f"took the outputs of step {earlier.step} of job {earlier.job}, which ran the same")
        result = StepResult(name=self.step, state=COMPLETED, outputs=earlier.outputs, reused_from=earlier.job)
        result.message = f"reused from job {earlier.job}"
        return commit(self._record, result, {}, self.run, self.stopped)

    def _attempt(self, values: Mapping[str, DataValue | Literals], places: Mapping[str, OutputPlace]) -> StepResult:
        began = time.monotonic()
        with StepFiles(_key(self.job, self.step), self.stopped) as files:
            texts = {
                f"inputs.{name}": files.input(name, value) if isinstance(value, DataValue) else as_argument(value)
                for name, value in values.items()
            }
            staged = {name: files.output(name, place) for name, place in places.items()}
            texts |= {f"outputs.{name}": str(output.path) for name, output in staged.items()}
            rendered = parse_command(self._about.component.command).render(texts)
            own = self._about.component.environment_variables | self._about.environment_variables
            log = self._log(files)
            try:
                run_command(
                    rendered.argv,
                    files.code(self._about.component.code_snapshot),
                    environment(own | rendered.environment),
                    log,
                    self._sink,
                    self._about.timeout,
                    self._started,
                )
            finally:
                self._keep(log)
            result = StepResult(name=self.step, state=COMPLETED, attempts=self.attempts)
            result.seconds = round(time.monotonic() - began, 3)
            return commit(self._record, result, staged, self.run, self.stopped)

    def _started(self, command: RunningCommand) -> None:
        with self._lock:
            self._command = command
            if self.stopped.is_set():
                command.stop()

    def _log(self, files: StepFiles) -> Path:
        """The local file that the command's log is appended to."""
        if self._record.is_local:
            return Path(self._record.make().path) / LOG
        with suppress(FileNotFoundError):
            files.log.write_bytes(self._record.read(LOG))  # of earlier attempts
        return files.log

    def _keep(self, log: Path) -> None:
        if not self._record.is_local and log.exists():
            with suppress(OSError, StorageFailed):  # the step's own end counts
                self._record.upload(log, LOG)


_all: dict[str, set[_Running]] = {}
_stopped: dict[str, int] = {}
_lock = threading.Lock()


def _register(job_root: str, running: _Running) -> None:
    """Raises JobReleased for a step of a run that was stopped."""
    with _lock:
        if running.run <= _stopped.get(job_root, 0):
            raise JobReleased
        _all.setdefault(job_root, set()).add(running)


def _deregister(job_root: str, running: _Running) -> None:
    running.ended.set()
    with _lock:
        left = _all.get(job_root, set())
        left.discard(running)
        if not left:
            _all.pop(job_root, None)


def stop(job_root: str, run: int | None = None) -> None:
    """Kill the commands of a job in this process; their steps end as Cancelled. Returns when they have, or after some
    seconds.

    Args:
        job_root: reference of the job's folder.
        run: steps of this run of the job that come later are Cancelled, too.
    """
    with _lock:
        if run is not None:
            _stopped[job_root] = max(run, _stopped.get(job_root, 0))
        running = list(_all.get(job_root, ()))
    for one in running:
        one.stop()
    deadline = time.monotonic() + _STOP_SECONDS
    for one in running:
        one.ended.wait(max(0.0, deadline - time.monotonic()))
