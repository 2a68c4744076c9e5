"""Jobs run as their callers: with their credentials, without what is denied to them, on places they may name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from endpoints import Ended, Endpoints
from prefect.blocks.fields import SecretDict
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter
from storage_servers import AzureContainer, HttpFiles

from prefect_batch.blocks.acting import acting_as, acting_principal, bound
from prefect_batch.blocks.data_asset import DataAsset
from prefect_batch.blocks.datastore import create_datastore, delete_datastore, find_datastore, open_folder
from prefect_batch.blocks.datastore_file import parse_credentials, parse_datastore
from prefect_batch.blocks.principal import (
    DatastoreCredentials,
    Principal,
    create_principal,
    delete_principal,
    find_principal,
    list_credentials,
    principal_or_nobody,
    set_credentials,
)
from prefect_batch.blocks.versions import create_version
from prefect_batch.flows.guarded import check_places
from prefect_batch.flows.locations import locate
from prefect_batch.flows.request import route
from prefect_batch.scoring.errors import BatchError, Forbidden, InvalidDocument, NotFound

from .test_data import register, upload

NAMES = 'return [f"{Path(path).name},{Path(path).read_text()}" for path in mini_batch]'
WRONG_KEY = base64.b64encode(b"planted-wrong-key-of-the-lake".ljust(64)).decode()


@dataclass
class World:
    """Two local datastores, one of them denied to `caller`, and an endpoint that reads what it is given."""

    folder: Path
    lake: str
    outer: str
    caller: str
    endpoint: str
    endpoints: Endpoints
    client: SyncPrefectClient

    def run(self, data: Any, caller: str | None = None, **parameters: Any) -> Ended:
        return self.endpoints.run(self.endpoint, data, caller=caller or self.caller, **parameters)

    def check(self, data: Any = None, **parameters: Any) -> None:
        found = route(self.client, self.endpoint, None)
        check_places(self.client, found, {"inputs": {"data": data}} | parameters, self.caller)

    def asset(self, path: str) -> str:
        name = f"asset-{uuid4().hex[:8]}"
        asset = DataAsset.model_validate({"name": name, "path": path, "reference": path})
        return create_version(self.client, asset).name


@pytest.fixture
def world(
    tmp_path: Path, endpoints: Endpoints, client: SyncPrefectClient, script_deployment: Callable[..., Path]
) -> World:
    mark = uuid4().hex[:8]
    outer = tmp_path / "outer"
    for folder in (outer / "data", outer / "lake" / "in", tmp_path / "outside"):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text("1")
    (outer / "link").symlink_to(tmp_path / "outside")
    (outer / "to-lake").symlink_to(outer / "lake")
    lake, store, caller = f"lake-{mark}", f"outer-{mark}", f"ci|{mark}"
    register(lake, outer / "lake")
    register(store, outer)
    create_principal(client, Principal(name=caller, denied_datastores=[lake]))
    endpoint = f"as-{mark}"
    endpoints.deploy(script_deployment(NAMES, endpoint=endpoint), endpoint)
    return World(tmp_path, lake, store, caller, endpoint, endpoints, client)


def test_a_denied_datastore_is_denied_in_every_spelling(world: World):
    lake, root = world.lake, world.folder / "outer" / "lake"
    assets = [world.asset(f"azureml://datastores/{lake}/paths/in"), world.asset(str(root / "in"))]
    workspace = "subscriptions/s/resourcegroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    spelt = [
        f"{lake}:in",
        f"{lake.upper()}:in",
        f"{lake}:in/*.txt",
        f"azureml://datastores/{lake}/paths/in",
        f"azureml://datastores/{lake}",
        f"azureml://{workspace}/datastores/{lake}/paths/in",
        f"/{workspace}/datastores/{lake}/paths/in",
        str(root / "in"),
        str(root / "in" / "a.txt"),
        f"file://{root}/in",
        f"file://localhost{root}/in",
        f"{root}/./in",
        f"{world.outer}:lake/in",
        f"{world.outer}:lake",
        f"{world.outer}:",
        f"{world.outer}:to-lake/in",
        f"azureml:{assets[0]}@latest",
        f"data:{assets[1]}:1",
        bound(f"azureml://datastores/{lake}/paths/in", world.caller),
    ]
    for spelling in spelt:
        with acting_as(world.caller), pytest.raises(Forbidden, match="denied"):
            locate(spelling, world.client)
        shapes = (spelling, [spelling], {"path": spelling}, {"JobInputType": "UriFolder", "Uri": spelling})
        for shape in shapes if spelling == spelt[0] else shapes[:1]:
            with pytest.raises((Forbidden, InvalidDocument)):  # what nobody may write is no reference at all
                world.check(shape)
        assert locate(spelling.removeprefix(bound("", world.caller)), world.client).url
    with acting_as(world.caller):
        assert locate(f"{world.outer}:data", world.client).datastore == world.outer


def test_jobs_of_others_are_not_denied_it(world: World):
    refused = world.run(f"{world.lake}:in")
    assert (refused.state, refused.message) == (
        "Failed",
        f"inputs.data: datastore '{world.lake}' is denied to '{world.caller}': name data in another one",
    )
    refused = world.run(f"{world.outer}:data", outputs={"score": {"path": f"{world.lake}:out"}})
    assert refused.state == "Failed"
    assert "outputs.score" in refused.message
    assert "denied" in refused.message
    done = world.run(f"{world.lake}:in", caller="another")
    assert done.state == "Completed"
    assert done.record["caller"] == done.record["submitted_by"] == "another"


def test_a_denied_default_datastore_takes_the_jobs_own_files_and_no_output(world: World):
    create_principal(world.client, Principal(name=world.caller, denied_datastores=["default"]))
    refused = world.run(f"{world.outer}:data")
    assert refused.state == "Failed"
    assert "datastore 'default' is denied" in refused.message
    done = world.run(f"{world.outer}:data", outputs={"score": {"path": f"{world.outer}:out"}})
    assert done.state == "Completed"
    assert (world.folder / "outer" / "out" / "predictions.csv").read_text() == 'prediction\n"a.txt,1"\n'


def test_what_there_is_to_find_names_nothing_that_is_denied(world: World):
    with acting_as(world.caller), pytest.raises(NotFound) as raised:
        find_datastore(world.client, "no-such-store")
    assert world.lake not in str(raised.value)
    assert world.outer in str(raised.value)


REFUSED = [
    "/etc/passwd",
    "/etc/*",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "file://localhost/etc/passwd",
    "FILE:///etc/passwd",
    "local:///etc/passwd",
    "../secret",
    "data",
    "./data",
    "~/data",
    "~root/data",
    "{outer}/../outside",
    "{outer}/%2e%2e/outside",
    "{outer}/data/..%2foutside",
    "file://{outer}/../outside",
    "{outer}/link",
    "{outer}/link/a.txt",
    "{store}:link",
    "{store}:../outside",
    "{store}:data/../../outside",
    "{web}/../other/a.csv",
    "{web}/%2e%2e/other/a.csv",
    "{web}/%252e%252e/other/a.csv",
    "{web}/.%2E/other/a.csv",
    "{web}/..%5cother",
    "{webstore}:%2e%2e/other",
    "s3://bucket/data",
    "abfss://box@account.dfs.core.windows.net/data",
    "https://account.blob.core.windows.net/box/data",
    "gs://bucket/data",
    "memory://data",
    "ftp://127.0.0.1/data",
    "sftp://localhost/etc",
    "github://a:b@/x",
    "zip::/etc/passwd",
    "http://127.0.0.1:1/data",
    "http://localhost/data",
    "https://[::1]/data",
    "http://169.254.169.254/latest/meta-data",
    "http://2130706433/data",
    "http://10.0.0.1/data",
    "http://192.168.0.1/data",
    "HTTP://127.0.0.1/data",
    "principal://admin/azureml://datastores/{store}/paths/data",
    "principal:///{outer}/data",
    "azureml://../x",
    "runs:/0123/model",
    "\\\\server\\share",
    "",
]


BOTH = ("/etc/passwd", "file:///etc/passwd", "{outer}/link", "{store}:../outside", "s3://bucket/data")
"""Those that are tried as outputs, too."""


def test_places_that_callers_may_not_name(world: World, http_files: HttpFiles):
    outer, webstore = world.folder / "outer", f"web-{uuid4().hex[:8]}"
    store = parse_datastore({"name": webstore, "type": "url", "url": http_files.url}, "test", Path())
    create_datastore(world.client, store)
    fill = {"outer": outer, "store": world.outer, "web": http_files.url, "webstore": webstore}
    taken: list[str] = []
    for given in REFUSED:
        spelling = given.format(**fill)
        for call in ({"data": [f"{world.outer}:data", spelling]}, {"outputs": {"o": spelling}})[: 1 + (given in BOTH)]:
            try:
                world.check(**call)
            except (Forbidden, InvalidDocument, NotFound):
                continue
            taken.append(f"{call}")
    assert taken == []

    allowed = [
        f"{world.outer}:data",
        f"{outer}/data",
        f"file://{outer}/data/a.txt",
        f"{http_files.url}/a.csv",
        f"{webstore}:a.csv",
        f"azureml:{world.asset(str(world.folder / 'outside'))}@latest",
        "https://1.1.1.1/data.csv",
    ]
    for spelling in allowed:
        world.check(spelling)
    world.check(input=[f"{world.outer}:data"], outputs={"score": {"path": f"{world.outer}:out", "type": "uri_folder"}})
    with pytest.raises(Forbidden, match=r"^input: "):
        world.check(input="/etc/passwd")
    world.check(inputs={"params": {"data": "/etc/passwd"}})  # a text for the script: opened by nobody here


def test_the_job_checks_again(world: World, http_server: HttpFiles, http_files: HttpFiles):
    (http_files.folder / "a.txt").write_text("1")
    (world.folder / "outer" / "data" / "passwd").symlink_to("/etc/passwd")
    for data, says in [
        ("/etc/passwd", "is in no datastore"),
        (f"{http_files.url}/a.txt", "private network"),
        (f"{world.outer}:data", "link that leads out"),
        (f"{world.outer}:d*/passwd", "link that leads out"),
    ]:
        job = world.run(data)
        assert job.state == "Failed"
        assert says in job.message
        assert "root:" not in job.message
    for data in (f"{world.folder}/outer/data/a.txt", f"azureml:{world.asset(f'{http_files.url}/a.txt')}@latest"):
        assert world.run(data).state == "Completed"


def test_a_web_address_is_judged_where_it_is_fetched(http_files: HttpFiles, client: SyncPrefectClient):
    (http_files.folder / "a.txt").write_text("1")
    with acting_as("ci"):
        location = locate(http_files.url, client)
    assert location.reference == bound(http_files.url, "ci")
    with pytest.raises(Forbidden, match="private network"):
        location.open().read("a.txt")
    assert locate(http_files.url, client).open().read("a.txt") == b"1"


def test_a_job_opens_datastores_with_its_callers_credentials(
    world: World, azure_blobs: AzureContainer, numbered_files: Callable[[int], Path]
):
    lake = f"a-{azure_blobs.container}"
    register(lake, replace(azure_blobs, key=WRONG_KEY))
    upload(azure_blobs, numbered_files(2))
    given = {"connection_string": azure_blobs.connection_string}
    held = find_datastore(world.client, lake)
    secret = SecretDict(parse_credentials(held, given, "test", Path()))
    set_credentials(
        world.client,
        DatastoreCredentials(principal=world.caller, datastore=lake, url=held.url, credentials=secret),
    )
    data, out = f"{lake}:in", {"score": {"path": f"azureml://datastores/{lake}/paths/out"}}

    refused = world.run(data, caller="another")
    assert refused.state == "Failed"
    assert "may not be read" in refused.message
    done = world.run(data, outputs=out)
    assert done.state == "Completed"
    assert azure_blobs.fs.cat_file(f"{azure_blobs.container}/out/predictions.csv") == (
        b'prediction\n"item-00000.txt,0"\n"item-00001.txt,1"\n'
    )
    assert done.record["output"]["reference"] == bound(f"azureml://datastores/{lake}/paths/out", world.caller)
    run = world.client.read_flow_run(done.id)
    logs = world.client.read_logs(LogFilter.model_validate({"flow_run_id": {"any_": [done.id]}}))
    left = [path.read_text() for path in done.folder.rglob("*") if path.is_file()]
    told = json.dumps([run.parameters, [log.message for log in logs], left, refused.message])
    assert lake in told
    for key in (azure_blobs.key, WRONG_KEY):
        assert key[:18] not in told
    shown = world.client._client.post("/block_documents/filter", json={}).text
    assert world.caller in shown
    assert azure_blobs.key[:18] not in shown


def test_credentials_go_with_their_datastore_and_their_principal(client: SyncPrefectClient):
    name, lake = f"ci-{uuid4().hex[:8]}", f"lake-{uuid4().hex[:8]}"
    keys = {"access_key_id": "A", "secret_access_key": "own"}

    def make(bucket: str, **more: Any) -> None:
        data = {"name": lake, "type": "s3", "bucket": bucket} | more
        held = create_datastore(client, parse_datastore(data, "test", Path()))
        secret = SecretDict(parse_credentials(held, keys, "test", Path()))
        set_credentials(client, DatastoreCredentials(principal=name, datastore=lake, url=held.url, credentials=secret))

    make("one", anonymous=True)
    with acting_as(name):
        found = find_datastore(client, lake)
    assert found.opens_with["secret"] == "own"
    assert not found.opens_with["anon"]
    assert found.reference("x") == f"principal://{name}/azureml://datastores/{lake}/paths/x"
    with acting_as("another"):
        assert find_datastore(client, lake).opens_with == {"anon": True}
    delete_datastore(client, lake)
    assert list_credentials(client, name) == []

    make("two")
    create_principal(client, Principal(name=name, allow=["invoke:a"]))
    delete_principal(client, name)
    with pytest.raises(NotFound):
        find_principal(client, name)
    with acting_as(name):
        assert find_datastore(client, lake).credentials is None


@pytest.mark.parametrize(
    ("data", "given", "says"),
    [
        ({"type": "s3", "bucket": "b"}, {"access_key_id": "planted"}, "secret_access_key is missing"),
        ({"type": "s3", "bucket": "b"}, {"account_key": "planted"}, "not a known key"),
        ({"type": "s3", "bucket": "b"}, {}, "missing"),
        ({"type": "azure_blob", "account_name": "a", "container_name": "c"}, {"account_key": ["planted"]}, "account"),
        ({"type": "azure_blob", "account_name": "a", "container_name": "c"}, {}, "give one of"),
        ({"type": "url", "url": "sftp://host/x"}, {}, "empty"),
        ({"type": "local", "path": "/x"}, {"key": "planted"}, "takes no credentials"),
    ],
)
def test_credentials_are_of_the_datastores_kind(data: dict[str, Any], given: dict[str, Any], says: str):
    held = parse_datastore({"name": "lake", **data}, "test", Path())
    with pytest.raises(InvalidDocument, match=says) as raised:
        parse_credentials(held, given, "test", Path())
    assert "planted" not in str(raised.value)


def test_principals_are_kept_apart_however_they_are_called(client: SyncPrefectClient):
    mark = uuid4().hex[:8]
    names = [f"CI-{mark}", f"ci-{mark}", f"auth0|ci-{mark}", f"ci {mark}", f"Ä-{mark}"]
    for number, name in enumerate(names):
        create_principal(client, Principal(name=name, allow=[f"invoke:e{number}"]))
    for number, name in enumerate(names):
        assert find_principal(client, name).allow == [f"invoke:e{number}"]
    create_principal(client, Principal(name=names[0], description="told later"))
    assert find_principal(client, names[0]).allow == ["invoke:e0"]
    assert principal_or_nobody(client, f"nobody-{mark}").grants == ()
    for wrong in ("", " ", "a\nb", "x" * 256):
        with pytest.raises(InvalidDocument):
            create_principal(client, Principal(name=wrong))
    with pytest.raises(BatchError, match="is a role"):
        Principal(name="role:x", denied_datastores=["lake"])


def test_acting_ends_with_its_block(world: World):
    with pytest.raises(Forbidden), acting_as(world.caller):
        locate(f"{world.lake}:in", world.client)
    assert acting_principal() is None
    assert open_folder(f"azureml://datastores/{world.lake}/paths/in").exists("a.txt")
    with pytest.raises(Forbidden):
        open_folder(bound(f"azureml://datastores/{world.lake}/paths/in", world.caller))
