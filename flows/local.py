"""A deployment tried out on this machine: no server, no endpoint, the same code path, the same files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from ..scoring import slots
from ..scoring.shard import Receipt
from . import run_step
from .environments import prepare_here
from .job import Job
from .mapping import Report
from .pipeline_job import PipelineJob
from .pipeline_summary import CANCELLED, FAILED, PipelineSummary
from .plan import Plan, Shard
from .run_graph import StepCounts, StepReport, run_graph
from .score_job import score_job
from .score_shard import LimitedSink, score_shard
from .step_result import StepResult
from .summary import Summary


class ThreadMapper:
    """Shards on threads of this process, one for each scoring process."""

    def __init__(self, job: Job, run: int, logger: logging.Logger) -> None:
        self._job, self._run = job, run
        self._sink = LimitedSink(logger, job.settings.logging_level)
        self._pool = ThreadPoolExecutor(job.settings.parallelism)
        self.ahead = 2 * job.settings.parallelism

    def submit(self, shard: Shard, done: Callable[[], None]) -> Future[Receipt]:
        future = self._pool.submit(score_shard, self._job.root, shard.number, self._run, self._sink)
        future.add_done_callback(lambda _: done())
        return future

    def receipt(self, handle: Future[Receipt], shard: Shard, alone: bool) -> Receipt:
        return handle.result()

    def abort(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        slots.release(self._job.root, at_once=True)
        self._pool.shutdown()

    def release(self) -> None:
        self._pool.shutdown()
        slots.release(self._job.root)


def run_local(job: Job, report: Report, logger: logging.Logger) -> Summary:
    """Run a recorded job on this machine. Raises JobFailed where its environment cannot be built."""
    warnings = prepare_here(job, logger.info)
    for warning in warnings:
        logger.warning(warning)

    def mapper(plan: Plan, run: int) -> ThreadMapper:
        return ThreadMapper(job, run, logger)

    return score_job(job, mapper, report, warnings=warnings)


class ThreadStepper:
    """Steps on threads of this process.

    Args:
        job: whose steps.
        run: number of this run of the job.
        pool: the threads.
        logger: receives what the commands print, each line after the name of its step.
    """

    def __init__(self, job: PipelineJob, run: int, pool: ThreadPoolExecutor, logger: logging.Logger) -> None:
        self._job, self._run, self._pool, self._logger = job, run, pool, logger
        self._flying: dict[str, Future[StepResult]] = {}
        self._over = False

    def submit(self, step: str, after: Sequence[str], used: int, done: Callable[[], None]) -> None:
        self._flying[step] = self._pool.submit(self._run_step, step, used)
        self._flying[step].add_done_callback(lambda _: done())

    def _run_step(self, step: str, used: int) -> StepResult:
        if self._over:
            return StepResult(name=step, state=CANCELLED)

        def sink(level: int, line: str) -> None:
            self._logger.log(level, "%s: %s", step, line)

        result = run_step.run_step(self._job.root, step, self._run, sink, used)
        if result.state == FAILED and not self._job.settings.continue_on_step_failure:
            self._over = True  # said here: a thread that is free takes the next step before stop() is called
        return result

    def result(self, step: str) -> StepResult:
        try:
            return self._flying.pop(step).result()
        except CancelledError:
            return StepResult(name=step, state=CANCELLED)

    def stop(self) -> None:
        for future in self._flying.values():
            future.cancel()
        run_step.stop(self._job.root, self._run)


def run_graph_local(job: PipelineJob, report: StepReport, logger: logging.Logger) -> PipelineSummary:
    """Run the steps of a recorded job on this machine."""
    settings = job.settings

    def told(counts: StepCounts) -> None:
        report(counts)
        if counts.ended is not None:
            logger.log(logging.ERROR if counts.ended.state == FAILED else logging.INFO, counts.ended.line)

    with ThreadPoolExecutor(settings.instance_count * settings.max_concurrency_per_instance) as pool:
        return run_graph(job, lambda run: ThreadStepper(job, run, pool, logger), told)
