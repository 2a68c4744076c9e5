"""A model job from its record to its output: plan, map, collect. Knows neither Prefect nor Dask: a Mapper does the
mapping, so that a job on a cluster and a trial run on this machine are the same code."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from ..scoring.errors import JobFailed
from ..scoring.parts import Located, committed
from ..scoring.shard import Receipt
from .collect import ERRORS, check_free, claim, error_lines, in_order, remove_output, write_errors, write_output
from .job import Job
from .mapping import Mapper, Report, Tally, map_shards, pending
from .plan import Plan
from .summary import SUMMARY, Summary, read_summary
from .usage import LiveUsage, all_usages

MakeMapper = Callable[[Plan, int], Mapper]
"""Takes the plan and the number of this run of the job."""


class _Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self._phases: dict[str, float] = {}
        self._last = self._first = time.monotonic()

    def lap(self, phase: str) -> None:
        now = time.monotonic()
        self._phases[phase], self._last = round(now - self._last, 3), now

    @property
    def seconds(self) -> dict[str, float]:
        return {**self._phases, "total": round(self._last - self._first, 3)}


def score_job(
    job: Job,
    make_mapper: MakeMapper,
    report: Report,
    usage: LiveUsage | None = None,
    warnings: Sequence[str] = (),
) -> Summary:
    """Run a job, or what is left of it, to its end.

    Args:
        job: as recorded and planned.
        make_mapper: makes what scores the shards, unless none is left.
        report: told how far the job is.
        usage: of its cluster, where it has one.
        warnings: what its summary is to tell beside.

    A job that fails by its own rules (threshold, no success, init()) gives a summary that says so; committed parts
    stay, and running the job again continues from them; one that has completed only gives its summary again.
    Raises what the machinery raises.
    """
    folder, settings = job.folder, job.settings
    if (ended := read_summary(job)) is not None and ended.completed:
        return ended
    plan = Plan.load(folder)
    if plan is None:
        raise JobFailed(f"{folder.url} has no plan: the job was never started")
    run, clock = job.begin_run(), _Clock()
    with ExitStack() as stack:
        job.output_folder.make()
        if (name := settings.file_name) is not None:
            if stack.enter_context(claim(job.output_folder, name, job.id)):
                remove_output(job.output_folder, name)  # written by a run that was killed just after
            else:
                check_free(job.output_folder, name)
        tally = Tally(plan.items, plan.mini_batches, settings.failures_allowed(plan.items))
        failure = _map(job, plan, run, make_mapper, tally, report)
        clock.lap("score")
        scoring = {"scoring": round(time.time() - tally.began, 3)} if tally.began is not None else {}
        summary = _collect(job, plan, run, failure)
        clock.lap("collect")
        summary.seconds = {**clock.seconds, **scoring, "busy": round(tally.busy_seconds, 3)}
        summary.warnings = list(warnings)
        summary.count(all_usages(folder, usage))
        folder.put(SUMMARY, summary.to_json())
        return summary


def _map(job: Job, plan: Plan, run: int, make_mapper: MakeMapper, tally: Tally, report: Report) -> str | None:
    """Score what is not committed; returns why the job failed, if init() did."""
    ledger = committed(job.folder) if run > 1 else {}
    done = {number for number, at in ledger.items() if at.outcome.succeeded}
    left = pending(plan, done)
    skipped = {shard.number for shard in plan.shards} - {shard.number for shard in left}
    for shard in plan.shards:
        if shard.number in skipped:
            receipt = Receipt(shard.number)
            for number in range(shard.first, shard.first + shard.count):
                receipt.add(ledger[number].outcome)
            tally.add(receipt)
    tally.busy_seconds = 0.0  # of this run only
    report(tally)
    if not left:
        return None
    try:
        map_shards(make_mapper(plan, run), left, tally, report)
    except JobFailed as error:
        return str(error)
    return None


def _collect(job: Job, plan: Plan, run: int, failure: str | None) -> Summary:
    folder, settings = job.folder, job.settings
    ledger = committed(folder)
    located = [ledger[number] for number in sorted(ledger)]
    failed = sum(at.outcome.failed for at in located)
    processed = sum(at.outcome.items for at in located)
    write_errors(folder, located)
    failure = failure or _verdict(job, plan, located, failed)
    output, rows = job.output.url, sum(at.outcome.rows for at in located)
    if failure is None:
        ordered = in_order(ledger, plan.mini_batches)
        if settings.file_name is not None:
            output = write_output(folder, ordered, job.output_folder, settings)
    succeeded = processed - failed
    message = failure or _success(plan, succeeded, rows, output, folder.file_url(ERRORS))
    return Summary(
        job=job.id,
        endpoint=job.endpoint,
        deployment=job.deployment_label,
        state="Failed" if failure else "Completed",
        message=message,
        input=job.input.url,
        output=output,
        items=plan.items,
        succeeded=succeeded,
        failed=failed,
        rows=rows,
        mini_batches=plan.mini_batches,
        retried_mini_batches=sum(at.outcome.attempts > 1 for at in located),
        error_threshold=settings.error_threshold,
        parallelism=settings.parallelism,
        runs=run,
        busy_seconds=round(sum(at.outcome.seconds for at in located), 3),
    )


def _verdict(job: Job, plan: Plan, located: list[Located], failed: int) -> str | None:
    """Why the job failed by its own rules, or None."""
    first = next((line for at in located for line in error_lines(at.outcome)), None)
    cause = f"; first: {first['item'] or 'a file'}: {first['error_type']}: {first['message']}" if first else ""
    see = f"; all are in {job.folder.file_url(ERRORS)}"
    if failed > job.settings.failures_allowed(plan.items):
        threshold = job.settings.error_threshold
        return f"{failed} of {plan.items} {plan.unit} failed, error_threshold allows {threshold}{cause}{see}"
    if failed >= plan.items:
        return f"nothing was scored: all {plan.items} {plan.unit} failed{cause}{see}"
    return None


def _success(plan: Plan, succeeded: int, rows: int, output: str, errors: str) -> str:
    lost = f" ({plan.items - succeeded} failed: see {errors})" if succeeded < plan.items else ""
    return f"{succeeded} of {plan.items} {plan.unit} scored{lost}, {rows} rows in {output}"
