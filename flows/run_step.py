"""One step of a pipeline on one worker: what a task does, and a thread of a trial run. Knows neither Prefect nor
Dask."""

from __future__ import annotations

from ..blocks.component import Step
from ..scoring.log_pump import LogSink
from .pipeline_job import PipelineJob
from .step_result import StepResult


def attempts_allowed(step: Step) -> int:
    """How often a step may be started in one run of its job, lost machines included."""
    return step.retries.max_retries if step.retries is not None else 3


def run_step(job_root: str, step: str, run: int, sink: LogSink | None = None, used: int = 0) -> StepResult:
    """Run a step to its end: take an earlier output where that is allowed, else start the command, also again where
    its retry settings say so, and commit what it wrote.

    A step that was done in an earlier run of the job, and whose outputs still stand, only gives its result again.
    Whatever goes wrong with the step is a result that says so; raises what the machinery raises (StorageFailed,
    NotFound for a job that is not there).

    Args:
        job_root: reference of the job's folder.
        step: its name in the graph.
        run: how often the job has been started.
        sink: receives each line that the command prints.
        used: attempts of this run that were lost with their machines.
    """
    raise NotImplementedError


def stop(job_root: str, run: int | None = None) -> None:
    """Kill the commands of a job in this process; their steps end as Cancelled.

    Args:
        job_root: reference of the job's folder.
        run: steps of this run of the job that come later are Cancelled, too.
    """
    raise NotImplementedError


def finished(job: PipelineJob, step: str) -> StepResult | None:
    """The result of a step that this job has done, if all its outputs still stand as they were committed."""
    raise NotImplementedError
