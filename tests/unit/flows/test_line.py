"""What is said of the line, and who of it counts as gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Completed, Crashed, Pending, Running, Scheduled, State

from prefect_batch.blocks.compute import ComputeCluster
from prefect_batch.blocks.places import LEASE, Ledger
from prefect_batch.flows.job_status import status_of
from prefect_batch.flows.line_tending import Look, _gone, message, queued_state

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CLUSTER = ComputeCluster(name="gpu", max_instances=2)
LONG_AGO = NOW - 2 * LEASE


def ledger(*jobs: str, since: datetime = NOW) -> Ledger:
    """Two instances, of which each job takes two."""
    held = Ledger()
    for job in jobs:
        held = held.enter(job, 2, "", 2, since)
    return held


def run(state: State) -> FlowRun:
    return FlowRun(flow_id=uuid4(), state=state)


@pytest.mark.parametrize(
    ("job", "told", "due"),
    [
        ("b", "this job is next", timedelta(seconds=30)),
        ("c", "1 job is before this one", timedelta(hours=1)),
        ("d", "2 jobs are before this one", timedelta(hours=1)),
    ],
)
def test_what_a_job_waits_for(job: str, told: str, due: timedelta):
    found = Look(ledger("a", "b", "c", "d"), 2)
    expected = f"Waits for compute 'gpu': 2 of 2 instances are in use, {told}"
    assert message(CLUSTER, found, job) == expected
    state = queued_state(CLUSTER, found, job, NOW)
    assert (state.message, state.state_details.scheduled_time - NOW) == (expected, due)
    assert status_of(run(state)) == "Queued"


@pytest.mark.parametrize("state", [Completed(), Crashed(), Cancelled()])
def test_who_has_ended_is_gone(state: State):
    held = ledger("a", "b")
    assert _gone(held, {"a": run(state), "b": run(Running())}, ["a", "b"], NOW) == ["a"]


def test_who_was_deleted_is_gone_but_not_who_came_since_it_was_asked():
    assert _gone(ledger("a", "b"), {}, ["a"], NOW) == ["a"]


@pytest.mark.parametrize(
    ("state", "gone"),
    [
        (Running(timestamp=LONG_AGO), True),
        (Pending(timestamp=LONG_AGO), True),
        (Scheduled(timestamp=LONG_AGO, scheduled_time=NOW), False),  # waits without a process
        (Pending(timestamp=NOW), False),  # is just being started
    ],
)
def test_who_waits_in_a_process_must_be_heard_of(state: State, gone: bool):
    held = ledger("a", "b", since=LONG_AGO)
    assert _gone(held, {"a": run(Running()), "b": run(state)}, ["a", "b"], NOW) == (["b"] if gone else [])
