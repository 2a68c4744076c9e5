"""A graph of steps from its record to its outputs. Knows neither Prefect nor Dask: a Stepper runs the steps, so that
a job on a cluster and a trial run on this machine are the same code."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ..blocks.component import PipelineComponent
from ..blocks.graph import order, parent_output, upstream
from ..scoring.errors import BatchError
from .pipeline_job import PipelineJob
from .pipeline_summary import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PipelineSummary,
    StepSummary,
    read_pipeline_summary,
    shown_outputs,
    summarize,
)
from .run_step import attempts_allowed, finished, sweep_outputs
from .step_result import StepResult
from .summary import SUMMARY
from .usage import LiveUsage

STOPPED = "another step failed, and continue_on_step_failure is false"


class WorkersLost(Exception):
    """The workers that ran a step died: `deaths` of them, one after the other."""

    def __init__(self, deaths: int) -> None:
        super().__init__(deaths)
        self.deaths = deaths


class Stepper(Protocol):
    """Runs steps of one job."""

    def submit(self, step: str, after: Sequence[str], used: int, done: Callable[[], None]) -> None:
        """Start a step.

        Args:
            step: its name.
            after: the steps whose outputs it takes; all have completed.
            used: attempts that were lost with their workers.
            done: called once, in any thread, when it has ended.
        """
        ...

    def result(self, step: str) -> StepResult:
        """How a step ended that has ended or was stopped. Raises WorkersLost, and what run_step() raises."""
        ...

    def stop(self) -> None:
        """Stop all steps that run, at once; their results say Cancelled."""
        ...


MakeStepper = Callable[[int], Stepper]
"""Takes the number of this run of the job."""


@dataclass
class StepCounts:
    """How far a job is."""

    total: int
    completed: int = 0
    failed: int = 0
    ended: StepResult | None = None
    """The step that has just ended."""


StepReport = Callable[[StepCounts], None]
"""Called at the start and after each step."""


def run_graph(
    job: PipelineJob, make_stepper: MakeStepper, report: StepReport, usage: LiveUsage | None = None
) -> PipelineSummary:
    """Run a job's steps, or those that are missing, to the end.

    Args:
        job: as recorded.
        make_stepper: makes what runs the steps, unless none is left.
        report: told how far the job is.
        usage: of its cluster, where it has one.

    A job of which a step failed gives a summary that says so; running the job again runs what is missing; one that
    has completed only gives its summary again. Raises what the machinery raises.
    """
    if (ended := read_pipeline_summary(job)) is not None and ended.completed:
        return ended
    assert job.deployment.graph is not None
    run, began = job.begin_run(), time.monotonic()
    graph = _Run(job, job.deployment.graph, report)
    if run > 1:
        graph.take_finished()
    if graph.left:
        try:
            graph.run(make_stepper(run))
        finally:
            sweep_outputs(job)
    summary = graph.summary(run, time.monotonic() - began, usage)
    job.folder.put(SUMMARY, summary.to_json())
    return summary


class _Run:
    """One run of the steps of a job."""

    def __init__(self, job: PipelineJob, graph: PipelineComponent, report: StepReport) -> None:
        self._job, self._graph, self._report = job, graph, report
        self._order = order(graph.jobs)
        self._upstream = {step: upstream(graph.jobs, step) for step in graph.jobs}
        self._ends: dict[str, StepResult] = {}
        self._running: set[str] = set()
        self._used = dict.fromkeys(self._order, 0)

    @property
    def left(self) -> list[str]:
        """Steps that have not ended, in an order in which they can run."""
        return [step for step in self._order if step not in self._ends]

    def take_finished(self) -> None:
        """Count the steps that an earlier run of this job has completed."""
        for step in self._order:
            if (result := finished(self._job, step)) is not None:
                self._ends[step] = result

    def run(self, stepper: Stepper) -> None:
        """Run what is left: a step as soon as those before it have completed."""
        ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._tell()
        try:
            self._submit_ready(stepper, ended)
            while self._running:
                self._take(stepper, ended.get(), ended)
        except BaseException:
            stepper.stop()
            raise

    def _take(self, stepper: Stepper, step: str, ended: queue.SimpleQueue[str]) -> None:
        """The result of a step that has ended, and what follows from it."""
        try:
            result = stepper.result(step)
        except WorkersLost as lost:
            self._used[step] += lost.deaths
            if self._used[step] < attempts_allowed(self._graph.jobs[step]):
                self._submit(stepper, step, ended)
                return
            result = StepResult(
                name=step,
                state=FAILED,
                message=f"the worker that ran it died ({self._used[step]} of {self._used[step]} attempts)",
                attempts=self._used[step],
            )
        except (BatchError, OSError) as error:  # of a record that its worker could not read
            result = StepResult(name=step, state=FAILED, message=str(error))
        self._end(step, result)
        if result.state == FAILED and not self._job.settings.continue_on_step_failure:
            stepper.stop()
            for other in [name for name in self._order if name in self._running]:
                self._end(other, _stopped(stepper.result(other)))
        else:
            self._submit_ready(stepper, ended)

    def _submit_ready(self, stepper: Stepper, ended: queue.SimpleQueue[str]) -> None:
        for step in self.left:
            if step not in self._running and all(map(self._completed, self._upstream[step])):
                self._submit(stepper, step, ended)

    def _submit(self, stepper: Stepper, step: str, ended: queue.SimpleQueue[str]) -> None:
        self._running.add(step)
        # The callback may come before submit() returns, hence the name instead of a handle.
        stepper.submit(step, self._upstream[step], self._used[step], partial(ended.put, step))

    def _completed(self, step: str) -> bool:
        return step in self._ends and self._ends[step].completed

    def _end(self, step: str, result: StepResult) -> None:
        self._running.discard(step)
        self._ends[step] = result
        self._tell(result)

    def _tell(self, ended: StepResult | None = None) -> None:
        states = [result.state for result in self._ends.values()]
        self._report(StepCounts(len(self._order), states.count(COMPLETED), states.count(FAILED), ended))

    def summary(self, run: int, seconds: float, usage: LiveUsage | None) -> PipelineSummary:
        """How the job ended."""
        failed = [step for step in self._order if step in self._ends and self._ends[step].state == FAILED]
        outputs = self._outputs()
        message = self._failure(failed) if failed else self._success() + shown_outputs(outputs)
        steps = [self._step_summary(step) for step in self._order]
        summary = summarize(self._job, FAILED if failed else COMPLETED, message, run, seconds, usage, steps)
        summary.outputs = outputs
        return summary

    def _outputs(self) -> dict[str, str]:
        """Where each output of the pipeline lies that is there, in the order of the interface."""
        found: dict[str, str] = {}
        for step in filter(self._completed, self._order):
            for name, binding in self._graph.jobs[step].outputs.items():
                if (output := parent_output(binding)) is not None:
                    found[output] = self._ends[step].outputs[name].location.url
        return {name: found[name] for name in self._graph.outputs if name in found}

    def _step_summary(self, step: str) -> StepSummary:
        if (result := self._ends.get(step)) is None:
            before = [name for name in self._upstream[step] if not self._completed(name)]
            return StepSummary(step, message=f"needs {', '.join(before)}" if before else "")
        return StepSummary(
            name=step,
            state=result.state,
            message=result.message,
            seconds=round(result.seconds, 3),
            attempts=result.attempts,
            reused_from=result.reused_from,
            outputs={name: place.location.url for name, place in result.outputs.items()},
        )

    def _failure(self, failed: list[str]) -> str:
        first = f"step {failed[0]!r} failed: {self._ends[failed[0]].message}"
        if len(failed) == 1:
            return first
        return f"{len(failed)} of {len(self._order)} steps failed ({', '.join(failed)}); {first}"

    def _success(self) -> str:
        reused = sum(result.reused_from is not None for result in self._ends.values())
        steps = f"{len(self._order)} step{'s' if len(self._order) > 1 else ''} completed"
        return f"{steps}, {reused} of them reused" if reused else steps


def _stopped(result: StepResult) -> StepResult:
    return result.model_copy(update={"message": STOPPED}) if result.state == CANCELLED else result
