"""Files that arrive at a place, on a real server: events, jobs, what is done after a watcher was killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import rest_gateway
import storage_servers
import yaml
from endpoints import Endpoints, until
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.events.schemas.events import Event

from prefect_batch.blocks.datastore import Datastore, create_datastore, default_datastore
from prefect_batch.blocks.endpoint import BatchEndpoint
from prefect_batch.flows import catalog, jobs, watch, watch_ledger
from prefect_batch.flows.watch import ARRIVED, Fired, Watcher, WatchSpec
from prefect_batch.flows.watch import watch as watch_flow
from prefect_batch.scoring.errors import BatchError

Write = Callable[..., Path]
COUNT = 'return ["ok" for _ in mini_batch]'


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


@pytest.fixture
def unscored(client: SyncPrefectClient, endpoints: Endpoints, script_deployment: Write) -> str:
    """An endpoint whose jobs nobody runs."""
    name = f"unscored-{uuid4().hex[:8]}"
    endpoints.deploy(script_deployment(COUNT), name)
    rest_gateway.leave_unserved(name)
    return name


def watcher(client: SyncPrefectClient, place: Path | str, **spec: Any) -> Watcher:
    return Watcher(client, WatchSpec(str(place), **{"settle": 0, **spec}))


def names(fired: list[Fired]) -> list[list[str]]:
    return [[file.name for file in one.batch.files] for one in fired]


def arrived(client: SyncPrefectClient, place: str) -> list[Event]:
    wanted = EventFilter(
        event=EventNameFilter(name=[ARRIVED]), resource=EventResourceFilter(labels={"prefect-batch.place": place})
    )
    return client.read_events(wanted, limit=50).events


def test_files_become_one_job_and_only_once(
    client: SyncPrefectClient, endpoints: Endpoints, script_deployment: Write, incoming: Path
):
    name = f"scored-{uuid4().hex[:8]}"
    endpoints.deploy(script_deployment(COUNT), name)
    (incoming / "sub").mkdir()
    for file in ("a.csv", "[b]*.csv", "sub/a.csv", "note.txt"):
        (incoming / file).write_text(file)
    spec: dict[str, Any] = {
        "endpoint": name,
        "include": ["*.csv"],
        "parameters": {"settings": {"output_file_name": "all.csv"}},
    }
    (first,) = watcher(client, incoming, **spec).look()
    assert sorted(file.name for file in first.batch.files) == ["[b]*.csv", "a.csv", "sub/a.csv"]
    again = watcher(client, f"{incoming}/", **spec)
    assert again.look() == []
    (incoming / "a.csv").write_text("changed")
    rest_gateway.leave_unserved(name)
    (second,) = again.look()
    assert names([second]) == [["a.csv"]]
    ended = endpoints.wait(UUID(first.jobs[0]))
    assert (ended.state, ended.summary["items"]) == ("Completed", 3)
    assert (ended.output / "all.csv").exists()
    assert included(client.read_flow_run(UUID(second.jobs[0]))) == ["/a.csv"]  # not sub/a.csv
    assert len(jobs.list_jobs(client, name)) == 2


@pytest.mark.parametrize("killed", ["send", "invoke", "done"])
def test_a_watcher_that_was_killed(
    client: SyncPrefectClient, unscored: str, incoming: Path, killed: str, monkeypatch: pytest.MonkeyPatch
):
    """Whatever it was about to do, the next one does, and nothing twice."""
    where = {"send": (watch, "send"), "invoke": (jobs, "invoke"), "done": (watch_ledger.Ledger, "finish")}
    (incoming / "a.csv").write_text("a")
    spec: dict[str, Any] = {"endpoint": unscored}
    with monkeypatch.context() as patch:
        patch.setattr(*where[killed], lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            watcher(client, incoming, **spec).look()
    if killed != "send":
        until("an event", lambda: arrived(client, str(incoming)))
    (incoming / "b.csv").write_text("b")
    assert names(watcher(client, incoming, **spec).look()) == [["b.csv"]]  # as far as it knows, the first still works
    monkeypatch.setattr(watch_ledger, "TAKEN_OVER", timedelta(0))
    (left,) = watcher(client, incoming, **spec).look()
    assert names([left]) == [["a.csv"]]
    made = jobs.list_jobs(client, unscored)
    assert sorted(included(run) for run in made) == [["/a.csv"], ["/b.csv"]]
    assert left.jobs[0] in {str(run.id) for run in made}
    told = until("both events", lambda: len(found := arrived(client, str(incoming))) > 1 and found)
    assert sorted(event.payload["files"] for event in told) == [["a.csv"], ["b.csv"]]


def included(run: FlowRun) -> list[str]:
    return run.parameters["inputs"]["data"]["include"]


@pytest.mark.parametrize("kind", ["s3", "azure_blobs"])
def test_other_storage(
    client: SyncPrefectClient,
    endpoints: Endpoints,
    script_deployment: Write,
    kind: str,
    request: pytest.FixtureRequest,
):
    """The event of files in a datastore with credentials holds what a call needs."""
    bucket: storage_servers.S3Bucket | storage_servers.AzureContainer = request.getfixturevalue(kind)
    store, root = f"lake-{uuid4().hex[:8]}", bucket.url.split("://")[1]
    create_datastore(
        client, Datastore.model_validate({"name": store, "url": bucket.url, "credentials": bucket.options})
    )
    watching = watcher(client, f"{store}:incoming/", max_files=2)
    assert watching.look() == []
    for name in ("a.csv", "b.csv", "sub/c d.csv"):
        bucket.fs.pipe_file(f"{root}/incoming/{name}", name.encode())
    assert names(watching.look()) == [["a.csv", "b.csv"], ["sub/c d.csv"]]
    assert watcher(client, f"azureml://datastores/{store}/paths/incoming", max_files=2).look() == []
    bucket.fs.pipe_file(f"{root}/incoming/b.csv", b"changed")
    assert names(watching.look()) == [["b.csv"]]

    place = f"azureml://datastores/{store}/paths/incoming/"
    told = until("three events", lambda: len(found := arrived(client, place)) == 3 and found)
    (event,) = (event for event in told if event.payload["count"] == 2)
    assert event.payload["bytes"] == 10
    assert "key" not in json.dumps(event.payload)
    if kind == "s3":
        endpoints.deploy(script_deployment(COUNT), store)
        data = {"path": event.payload["place"], "include": event.payload["include"]}
        ended = endpoints.call(store, inputs={"data": data})
        assert (ended.state, ended.summary["items"]) == ("Completed", 2)


def test_a_trigger_takes_the_files_of_the_event(
    client: SyncPrefectClient, endpoints: Endpoints, script_deployment: Write, incoming: Path
):
    name = f"by-event-{uuid4().hex[:8]}"
    endpoints.deploy(script_deployment(COUNT), name)
    files = {"__prefect_kind": "jinja", "template": "{{ event.payload.include | tojson }}"}
    data = {"path": "{{ event.payload.place }}", "include": {"__prefect_kind": "json", "value": files}}
    trigger = {
        "expect": [ARRIVED],
        "match": {"prefect-batch.place": str(incoming)},
        "parameters": {"inputs": {"data": data}},
    }
    catalog.create_endpoint(client, BatchEndpoint.model_validate({"name": name, "triggers": [trigger]}))
    for file in ("a.csv", "b.csv"):
        (incoming / file).write_text(file)
    watch_flow(str(incoming), settle=0)  # as a schedule would
    (run,) = until("a job", lambda: jobs.list_jobs(client, name))
    assert included(run) == ["/a.csv", "/b.csv"]
    ended = endpoints.wait(run.id)
    assert (ended.state, ended.summary["items"]) == ("Completed", 2)


@pytest.mark.parametrize("kind", ["uri_folder", "uri_file"])
def test_a_pipeline_gets_a_folder_of_what_is_new_or_file_by_file(
    client: SyncPrefectClient, endpoints: Endpoints, incoming: Path, tmp_path: Path, kind: str
):
    step: dict[str, Any] = {
        "type": "command",
        "component": {"type": "command", "inputs": {"data": {"type": kind}}, "command": "ls ${{inputs.data}}"},
        "inputs": {"data": "${{parent.inputs.data}}"},
    }
    component = {"type": "pipeline", "inputs": {"data": {"type": kind}}, "jobs": {"list": step}}
    path, name = tmp_path / "pipeline.yml", f"pipe-{uuid4().hex[:8]}"
    path.write_text(yaml.safe_dump({"name": "listing", "type": "pipeline", "component": component}))
    endpoints.deploy(path, name)
    rest_gateway.leave_unserved(name)
    (incoming / "old.csv").write_text("old")
    watching = watcher(client, incoming, endpoint=name)
    watching.look()
    (incoming / "a.csv").write_text("a")
    (incoming / "b.csv").write_text("b")
    (fired,) = watching.look()
    given = [client.read_flow_run(UUID(job)).parameters["inputs"]["data"] for job in fired.jobs]
    if kind == "uri_file":
        assert given == [str(incoming / "a.csv"), str(incoming / "b.csv")]
    else:
        (folder,) = map(Path, given)
        assert {file.name: file.read_text() for file in folder.iterdir()} == {"a.csv": "a", "b.csv": "b"}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"place": "missing"}, "make the folder first"),
        ({"place": "file.csv"}, "is a file: name its folder"),
        ({"place": ""}, "names no data"),
        ({"endpoint": "nowhere"}, "endpoint 'nowhere' does not exist"),
        ({"settle": -1}, "settle must be 0 or more"),
        ({"endpoint": "checked", "parameters": {"settings": {"mini_batch_size": 0}}}, "mini_batch_size"),
        ({"endpoint": "checked", "deployment": "other"}, "Deployment 'other' not found"),
    ],
)
def test_what_could_never_work_is_refused(
    client: SyncPrefectClient,
    endpoints: Endpoints,
    script_deployment: Write,
    incoming: Path,
    spec: dict[str, Any],
    said: str,
):
    if spec.get("endpoint") == "checked":
        endpoints.deploy(script_deployment(COUNT), "checked")
    (incoming / "file.csv").write_text("")
    place = str(incoming / spec["place"]) if spec.get("place") else spec.get("place", str(incoming))
    with pytest.raises(BatchError) as error:
        watcher(client, place, **{key: value for key, value in spec.items() if key != "place"})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_watch_does_not_find_its_own_files(client: SyncPrefectClient):
    with pytest.raises(BatchError, match="which the watch writes to: watch a folder of it"):
        watcher(client, default_datastore(client).folder.url)
