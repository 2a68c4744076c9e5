"""A deployment tried out on this machine: no server, no endpoint, the same code path, the same files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ..scoring import slots
from ..scoring.shard import Receipt
from .job import Job
from .mapping import Report
from .plan import Plan, Shard
from .score_job import score_job
from .score_shard import LimitedSink, score_shard
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
    """Run a recorded job on this machine."""

    def mapper(plan: Plan, run: int) -> ThreadMapper:
        return ThreadMapper(job, run, logger)

    return score_job(job, mapper, report)
