"""Looking after the line of jobs before a compute cluster: who is gone is dropped, who there is room for is started.

Anybody may do so at any time and several at once; who has a place does. A job that waits is started by setting its
flow run's scheduled time to now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from ..blocks import ledger
from ..blocks.compute import ComputeCluster, find_compute
from ..blocks.ledger import LEASE, Ledger, Step
from ..scoring.errors import NotFound
from .job_status import QUEUED

_HEAD = timedelta(seconds=30)
"""After which the first in the line starts by itself, should everybody who looks after the line be gone."""
_OTHERS = timedelta(hours=1)
_MARGIN = timedelta(seconds=16)
"""Workers start what is due so soon: PREFECT_WORKER_PREFETCH_SECONDS is 10, and there is the time between polls."""
_SETTLED = timedelta(seconds=5)
"""After which the process that put its job into the line has ended for certain. A worker with a limit dies of a flow
run that is to start while it still has a process of it."""
_LEFT = timedelta(seconds=20)
"""After which it has ended even if its state is newer, as who looks after the line sets that anew."""
_UNBOUNDED = 1_000_000_000
_PAGE = 200
Runs = Mapping[str, FlowRun]


@dataclass(frozen=True)
class Look:
    """What a look at the line found and did."""

    ledger: Ledger
    capacity: int
    """0 if there is no line."""
    unstarted: bool = False
    """Whether a job has a place and was not yet to be started, as its process was still about to end."""


def tend(client: SyncPrefectClient, compute: ComputeCluster) -> Ledger:
    """Look after the line once; returns how it is then. Raises what the client raises when the server is away."""
    return look(client, compute).ledger


def look(client: SyncPrefectClient, compute: ComputeCluster, step: Step | None = None, job: str | None = None) -> Look:
    """Look after the line once, and change something. A job with a place leaves it at that if nobody waits.

    Args:
        client: of the Prefect server.
        compute: the cluster, as it was when the job was made.
        step: what to change, after those were dropped who are gone.
        job: who looks: it is not asked whether this one lives.
    """
    held = ledger.read(client, compute.name)
    waits = bool(held.line) or any(not holder.claimed for holder in held.holders)
    if step is None and not waits and (job is not None or not (held.holders or held.kept)):
        return Look(held, 0)
    asked = {other for other in held.jobs if other != job}
    runs = _runs(client, asked)
    capacity = cache(lambda: capacity_of(client, compute))

    def whole(found: Ledger, now: datetime) -> Ledger:
        swept = found.without(_gone(found, runs, asked, now)).without_expired(now)
        changed = swept if step is None else step(swept, now)
        return changed.with_absent_above(capacity()).promoted(capacity(), now)[0] if changed.line else changed

    now = ledger.server_now(client)
    if step is not None or whole(held, now) != held:
        held = ledger.change(client, compute.name, whole)
    found = Look(held, capacity() if held.line else 0)
    settled = [_start(client, compute, runs[other], heard, now) for other, heard in _called(held) if other in runs]
    _put_off(client, compute, found, runs, now, held.rank(job))
    return replace(found, unstarted=not all(settled))


def capacity_of(client: SyncPrefectClient, compute: ComputeCluster) -> int:
    """The instances that a cluster may have now: it may have been changed since the job was made."""
    try:
        current = find_compute(client, compute.name)
    except NotFound:
        current = compute
    return _UNBOUNDED if current.capacity is None else current.capacity


def queued_state(compute: ComputeCluster, found: Look, job: str, now: datetime) -> State[Any]:
    """The state of a job that waits in the line."""
    due = now + (_HEAD if found.ledger.position(job) == 1 else _OTHERS)
    return Scheduled(name=QUEUED, scheduled_time=due, message=message(compute, found, job))


def message(compute: ComputeCluster, found: Look, job: str) -> str:
    """What a job waits for."""
    before = (found.ledger.position(job) or 1) - 1
    jobs = {0: "this job is next", 1: "1 job is before this one"}.get(before, f"{before} jobs are before this one")
    used = found.ledger.provisioned
    return f"Waits for compute {compute.name!r}: {used} of {found.capacity} instances are in use, {jobs}"


def _runs(client: SyncPrefectClient, jobs: Collection[str]) -> Runs:
    """The flow runs of jobs, without those that were deleted."""
    ids, found = [UUID(job) for job in jobs], list[FlowRun]()
    for start in range(0, len(ids), _PAGE):
        wanted = FlowRunFilter.model_validate({"id": {"any_": ids[start : start + _PAGE]}})
        found += client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE)
    return {str(run.id): run for run in found}


def _gone(found: Ledger, runs: Runs, asked: Collection[str], now: datetime) -> list[str]:
    """Jobs that have ended; of those that wait in a process, also which were not heard of for long."""
    ended = [job for job in found.jobs if job in asked and (job not in runs or _state(runs[job]).is_final())]
    silent = [
        waiter.job
        for waiter in found.line
        if waiter.until < now
        and waiter.job in runs
        and _state(runs[waiter.job]).type != StateType.SCHEDULED
        and _state(runs[waiter.job]).timestamp < now - LEASE
    ]
    return [*ended, *silent]


def _called(held: Ledger) -> Iterable[tuple[str, datetime | None]]:
    """Jobs that are to come, by whomever they were granted their places, and when they last waited in a process."""
    yield from ((holder.job, holder.heard) for holder in held.holders if not holder.claimed)
    yield from ((waiter.job, None) for waiter in held.line if waiter.absent)


def _start(
    client: SyncPrefectClient, compute: ComputeCluster, run: FlowRun, heard: datetime | None, now: datetime
) -> bool:
    """Have a worker start a job that waits at Prefect; False if that must be tried again, as it is not yet there."""
    state = _state(run)
    if state.type != StateType.SCHEDULED:  # in a process, which may be about to leave it to Prefect
        return state.type != StateType.RUNNING or run.deployment_id is None
    if (due := state.state_details.scheduled_time) is None or due <= now:
        return True
    if state.timestamp > now - _SETTLED and heard is not None and heard > now - _LEFT:
        return False
    _set(client, run, Scheduled(name=QUEUED, scheduled_time=now, message=f"Has a place on compute {compute.name!r}"))
    return True


def _put_off(
    client: SyncPrefectClient, compute: ComputeCluster, found: Look, runs: Runs, now: datetime, rank: int
) -> None:
    """Let nobody in the line start by itself while somebody looks after it: the first who does puts it off."""
    margin = _MARGIN - timedelta(seconds=3) * min(rank, 2)
    for waiter in found.ledger.line:
        if waiter.absent or (run := runs.get(waiter.job)) is None or _state(run).name != QUEUED:
            continue
        due = _state(run).state_details.scheduled_time or now
        if due < now + margin or (found.ledger.position(waiter.job) == 1 and due > now + 2 * _HEAD):
            _set(client, run, queued_state(compute, found, waiter.job, now))


def _set(client: SyncPrefectClient, run: FlowRun, state: State[Any]) -> None:
    """Set the state of a flow run, unless it has another one by now."""
    try:
        if client.read_flow_run(run.id).state_id == run.state_id:
            client.set_flow_run_state(run.id, state, force=True)  # no rule of Prefect's lets the time be changed
    except ObjectNotFound:
        pass


def _state(run: FlowRun) -> State[Any]:
    assert run.state is not None  # every flow run that the server gives has one
    return run.state
