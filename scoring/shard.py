"""Scoring one shard: a run of mini-batches, each tried up to max_retries times, each committed with its outcome."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from .contract import ItemError, Scored
from .encoded import Chunk
from .errors import InitFailed, MiniBatchFailed
from .items import LocalItem, MiniBatch
from .log_pump import LogSink
from .parts import Outcome, PartWriter, committed
from .slots import Slots
from .staging import Staged, ahead
from .storage import Folder


@dataclass
class RetrySettings:
    """Attempts in total for one mini-batch (3 means three runs at most), and seconds for each."""

    max_retries: int
    timeout: float


@dataclass
class Receipt:
    """Sums over a shard: all that travels back to the flow."""

    shard: int
    mini_batches: int = 0
    items: int = 0
    failed: int = 0
    rows: int = 0
    busy_seconds: float = 0.0
    retried: int = field(default=0)
    began: float | None = None
    """When the first mini-batch that was scored now was, in seconds since 1970."""

    def add(self, outcome: Outcome) -> None:
        self.mini_batches += 1
        self.items += outcome.items
        self.failed += outcome.failed
        self.rows += outcome.rows
        self.busy_seconds += outcome.seconds
        self.retried += outcome.attempts > 1


def score_shard(
    job: Folder,
    shard: int,
    run: int,
    mini_batches: Iterable[MiniBatch],
    slots: Slots,
    retry: RetrySettings,
    failures_allowed: float,
    sink: LogSink | None,
) -> Receipt:
    """Score what of the shard is not yet in a committed part.

    Args:
        job: the job's folder.
        run: how often the job has been started: what failed in an earlier run is tried again, what failed in this
            one (this shard may have been begun by a worker that died) is not.
        failures_allowed: more failed items than this end the shard early; the flow then ends the job.
        sink: receives what the script prints and logs.

    Raises InitFailed, JobReleased.
    """
    done = {n: at.outcome for n, at in committed(job, shard).items() if at.outcome.succeeded or at.run >= run}
    receipt, writer = Receipt(shard), PartWriter(job, shard, run)

    def left() -> Iterator[MiniBatch]:
        for mini_batch in mini_batches:
            if mini_batch.number in done:
                receipt.add(done[mini_batch.number])
            else:
                yield mini_batch

    try:
        upcoming = ahead(slots.staging, left(), lambda mini_batch: mini_batch.items)
        with slots.used(), closing(upcoming):
            for mini_batch, staged in upcoming:
                if receipt.failed > failures_allowed:
                    break
                outcome, chunk = score_mini_batch(mini_batch, staged, slots, retry, sink)
                writer.add(outcome, chunk.data)
                receipt.add(outcome)
                receipt.began = receipt.began or outcome.began or None
    finally:
        writer.commit()
    return receipt


def score_mini_batch(
    mini_batch: MiniBatch, staged: Staged, slots: Slots, retry: RetrySettings, sink: LogSink | None
) -> tuple[Outcome, Chunk]:
    """Try a mini-batch up to max_retries times; after that all its items have failed.

    An item that could not be staged has failed already, and run() gets the others.
    An init() that fails as often is the end of the job, not of the mini-batch. Raises InitFailed, JobReleased.
    """
    if not staged.items:
        size = len(mini_batch.items)
        return Outcome(mini_batch.number, size, failed=size, errors=staged.errors), Chunk(b"", 0, None)
    attempt, pid, began = 0, None, 0.0
    with slots.slot(sink) as process:
        started = time.monotonic()
        while True:
            attempt += 1
            try:
                process.start()
                pid, began = process.pid, began or time.time()
                final = attempt >= retry.max_retries
                scored = process.run(staged.items, retry.timeout, final)
                slots.publish(process)
                break
            except InitFailed:
                if attempt >= retry.max_retries:
                    raise
            except MiniBatchFailed as error:
                slots.discard(process)
                if attempt >= retry.max_retries:
                    scored = _all_failed(staged.items, error)
                    break
    for error in scored.errors:
        error.attempt = attempt
    outcome = Outcome(
        mini_batch=mini_batch.number,
        items=len(mini_batch.items),
        failed=scored.failed + len(staged.errors),
        rows=scored.chunk.rows,
        columns=scored.chunk.columns,
        attempts=attempt,
        seconds=round(time.monotonic() - started, 6),
        began=round(began, 3),
        process=f"{slots.node}/{pid or ''}",
        errors=staged.errors + scored.errors,
    )
    return outcome, scored.chunk


def _all_failed(items: list[LocalItem], error: MiniBatchFailed) -> Scored:
    cause = ItemError([item.name for item in items], error.error_type, str(error), error.traceback)
    return Scored(Chunk(b"", 0, None), failed=len(items), errors=[cause])


def fail_shard(
    job: Folder, shard: int, run: int, mini_batches: Iterable[MiniBatch], error_type: str, message: str
) -> Receipt:
    """Commit every mini-batch of the shard that is in no part as failed, for a shard that kills its workers."""
    done = committed(job, shard)
    receipt, writer = Receipt(shard), PartWriter(job, shard, run)
    for mini_batch in mini_batches:
        held = done.get(mini_batch.number)
        if held is None:
            cause = ItemError([item.label for item in mini_batch.items], error_type, message)
            size = len(mini_batch.items)
            outcome = Outcome(mini_batch.number, size, failed=size, errors=[cause])
            writer.add(outcome, b"")
        else:
            outcome = held.outcome
        receipt.add(outcome)
    writer.commit()
    return receipt
