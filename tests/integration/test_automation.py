"""Schedules and triggers of endpoints, and the events of jobs, on a real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from endpoints import Endpoints, until
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.events.schemas.events import Event

from prefect_batch.blocks.endpoint import BatchEndpoint
from prefect_batch.flows import automation, catalog, jobs
from prefect_batch.flows.job_events import COMPLETED, FAILED
from prefect_batch.flows.publication import published
from prefect_batch.scoring.errors import BatchError, InvalidDocument

Write = Callable[..., Path]
COUNT = 'return ["ok" for _ in mini_batch]'
NIGHTLY = {"cron": "0 6 * * *", "slug": "nightly", "parameters": {"inputs": {"data": "/data/in"}}}


def make(client: SyncPrefectClient, name: str, **keys: Any) -> UUID:
    catalog.create_endpoint(client, BatchEndpoint.model_validate({"name": name, **keys}))
    held = published(client, name)
    assert held is not None
    return held.id


def held(client: SyncPrefectClient, name: str) -> dict[str, tuple[Any, bool, dict[str, Any]]]:
    return {
        automation.name_of(schedule): (getattr(schedule.schedule, "cron", None), schedule.active, schedule.parameters)
        for schedule in automation.list_schedules(client, name)
    }


def owned(client: SyncPrefectClient, deployment: UUID) -> list[Any]:
    return client.read_resource_related_automations(f"prefect.deployment.{deployment}")


def events(client: SyncPrefectClient, job: str, name: str) -> list[Event]:
    wanted = EventFilter(
        event=EventNameFilter(name=[name]), resource=EventResourceFilter(id=[f"prefect-batch.job.{job}"])
    )
    return until(name, lambda: client.read_events(wanted, limit=10).events)


def test_schedules_follow_the_document(client: SyncPrefectClient):
    make(client, "scheduled", schedules=[NIGHTLY, {"interval": 3600}])
    assert held(client, "scheduled") == {
        "nightly": ("0 6 * * *", True, NIGHTLY["parameters"]),
        "schedule-2": (None, True, {}),
    }
    automation.set_active(client, "scheduled", "nightly", False)
    make(client, "scheduled", description="a document without the key")
    assert set(held(client, "scheduled")) == {"nightly", "schedule-2"}
    make(client, "scheduled", schedules=[NIGHTLY | {"cron": "0 7 * * *"}])
    assert held(client, "scheduled") == {"nightly": ("0 7 * * *", False, NIGHTLY["parameters"])}
    make(client, "scheduled", schedules=[NIGHTLY | {"active": True}])
    assert held(client, "scheduled")["nightly"][1] is True
    make(client, "scheduled", schedules=[])
    assert held(client, "scheduled") == {}


def test_parameters_must_fit(client: SyncPrefectClient, endpoints: Endpoints, script_deployment: Write):
    endpoints.deploy(script_deployment(COUNT), "fitted")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "inputs: nothing was given"),
        ({"inputs": {"data": "/d"}, "settings": {"mini_batch_size": 0}}, "settings.mini_batch_size"),
        ({"inputs": {"data": "/d"}, "setings": {}}, "did you mean settings?"),
        ({"inputs": "/d"}, "inputs must be a mapping"),
        ({"inputs": {"data": "/d"}, "deployment": "other"}, "Deployment 'other' not found"),
    ]
    for parameters, said in wrong:
        with pytest.raises(InvalidDocument, match="schedules: nightly") as error:
            make(client, "fitted", schedules=[NIGHTLY | {"parameters": parameters}])
        assert said in str(error.value)
        with pytest.raises(InvalidDocument, match="triggers: 1") as error:
            make(client, "fitted", triggers=[{"expect": ["x"], "parameters": parameters}])
        assert said in str(error.value)
    assert held(client, "fitted") == {}


def test_what_an_event_fills_in_is_not_held_against_a_trigger(
    client: SyncPrefectClient, endpoints: Endpoints, script_deployment: Write
):
    endpoints.deploy(script_deployment(COUNT), "templated")
    parameters = {
        "inputs": {"data": "{{ event.payload.place }}"},
        "settings": {"mini_batch_size": "{{ event.payload.size }}"},
    }
    deployment = make(client, "templated", triggers=[{"expect": ["x"], "parameters": parameters}])
    assert len(owned(client, deployment)) == 1
    parameters["settings"]["error_threshold"] = "-7"
    with pytest.raises(InvalidDocument, match="error_threshold"):
        make(client, "templated", triggers=[{"expect": ["x"], "parameters": parameters}])


def test_schedules_by_hand(client: SyncPrefectClient, endpoints: Endpoints, script_deployment: Write):
    from prefect_batch.blocks.schedule import Schedule

    endpoints.deploy(script_deployment(COUNT), "by-hand")
    hourly = Schedule.model_validate({"interval": 3600, "parameters": NIGHTLY["parameters"]})
    assert automation.create_schedule(client, "by-hand", "scripted", hourly) == "schedule-1"
    assert automation.create_schedule(client, "by-hand", "scripted", hourly) == "schedule-2"
    automation.delete_schedule(client, "by-hand", "schedule-1")
    with pytest.raises(BatchError, match=r"has no schedule 'schedule-1' \(it has: schedule-2\)"):
        automation.delete_schedule(client, "by-hand", "schedule-1")
    (left,) = automation.list_schedules(client, "by-hand")
    assert automation.misfit(client, "by-hand", "scripted", left) is None
    assert "deployment" in str(automation.misfit(client, "by-hand", None, left))


def test_an_endpoint_takes_its_automations_with_it(client: SyncPrefectClient):
    trigger = {"name": "mine", "expect": ["a"], "parameters": {"inputs": {"data": "{{ event.payload.x }}"}}}
    deployment = make(client, "triggered", triggers=[trigger])
    make(client, "triggered", triggers=[trigger, {"expect": ["b"]}])
    assert sorted(held.name for held in owned(client, deployment)) == ["mine", "triggered__automation_2"]
    make(client, "triggered")
    assert len(owned(client, deployment)) == 2
    catalog.delete_endpoint(client, "triggered")
    assert client.read_automations_by_name("triggered__automation_2") == []


def test_a_job_that_failed_tells(client: SyncPrefectClient, endpoints: Endpoints, script_deployment: Write):
    endpoints.deploy(script_deployment(COUNT), "telling")
    ended = endpoints.run("telling", "/nowhere")
    (event,) = events(client, ended.id, FAILED)
    assert event.resource["prefect-batch.endpoint"] == "telling"
    assert event.payload["message"] == ended.message
    assert (event.payload["state"], event.payload["outputs"]) == ("Failed", {})


def test_a_job_calls_the_next_endpoint(
    client: SyncPrefectClient, endpoints: Endpoints, script_deployment: Write, numbered_files: Callable[[int], Path]
):
    first, second = f"first-{uuid4().hex[:8]}", f"second-{uuid4().hex[:8]}"
    endpoints.deploy(script_deployment(COUNT), first)
    endpoints.deploy(script_deployment(COUNT, name="next"), second)
    trigger = {
        "expect": [COMPLETED],
        "match": {"prefect-batch.endpoint": first},
        "parameters": {"inputs": {"data": "{{ event.payload.outputs.score }}"}},
    }
    make(client, second, triggers=[trigger])
    ended = endpoints.run(first, numbered_files(3))
    (event,) = events(client, ended.id, COMPLETED)
    assert event.payload["counts"]["rows"] == 3
    assert event.payload["files"] == {"score": str(ended.output / "predictions.csv")}
    (run,) = until("a job", lambda: jobs.list_jobs(client, second))
    chained = endpoints.wait(run.id)
    assert (chained.state, chained.summary["items"]) == ("Completed", 1)
    assert chained.record["input"]["given"] == str(ended.output)
