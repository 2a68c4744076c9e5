"""Datastores on a real server: made once, changed but never moved, opened by name, and secret to the end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from prefect_batch.blocks import datastore as module
from prefect_batch.blocks import store
from prefect_batch.blocks.datastore import (
    POINTER,
    Datastore,
    create_datastore,
    datastore_of,
    default_datastore,
    delete_datastore,
    find_datastore,
    open_folder,
    set_default,
)
from prefect_batch.blocks.datastore_file import parse_datastore
from prefect_batch.flows.upload import upload
from prefect_batch.interfaces.local_server import LocalServer
from prefect_batch.scoring.errors import BatchError, InvalidDocument, NotFound

SECRET = "SeCrEt/+==KEY"


@pytest.fixture
def name() -> str:
    return f"store-{uuid4().hex[:8]}"


@pytest.fixture
def _default_again(client: SyncPrefectClient) -> Iterator[None]:
    yield
    client.delete_variable_by_name(POINTER)


def secret_of(datastore: Datastore) -> Any:
    return datastore.credentials.get_secret_value() if datastore.credentials else None


def s3_like(name: str, secret: str = SECRET, **data: Any) -> Datastore:
    keys = {"access_key_id": "AKIA", "secret_access_key": secret}
    return parse_datastore({"name": name, "type": "s3", "bucket": "b", "credentials": keys, **data}, "test", Path("/"))


def test_credentials_are_saved_and_the_api_hides_them(client: SyncPrefectClient, name: str) -> None:
    create_datastore(client, s3_like(name))
    assert secret_of(find_datastore(client, name)) == {"key": "AKIA", "secret": SECRET}
    nested = parse_datastore(
        {
            "name": f"{name}-deep",
            "type": "gcs",
            "bucket": "b",
            "credentials": {"service_account": {"deep": [{"private_key": SECRET}]}},
        },
        "test",
        Path("/"),
    )
    create_datastore(client, nested)
    assert secret_of(find_datastore(client, f"{name}-deep")) == {"token": {"deep": [{"private_key": SECRET}]}}
    url = str(client.api_url).rstrip("/")
    answers = [
        httpx.get(f"{url}/block_types/slug/batch-datastore/block_documents"),
        httpx.get(f"{url}/block_types/slug/batch-datastore/block_documents/name/{name}"),
        httpx.post(f"{url}/block_documents/filter", json={"block_types": {"slug": {"any_": ["batch-datastore"]}}}),
    ]
    for answer in answers:
        assert answer.is_success and name in answer.text and SECRET not in answer.text


def test_create_again_changes_all_but_the_place(client: SyncPrefectClient, name: str) -> None:
    create_datastore(client, s3_like(name, description="first", tags={"a": "1"}))
    changed = create_datastore(client, s3_like(name, "rotated", read_only=True, options={"max_concurrency": 4}))
    assert secret_of(changed) == {"key": "AKIA", "secret": "rotated"}
    assert (changed.read_only, changed.description, changed.tags) == (True, "first", {"a": "1"})
    assert changed.options == {"max_concurrency": 4}
    kept = parse_datastore({"name": name, "type": "s3", "bucket": "b", "read_only": False}, "test", Path("/"))
    assert secret_of(create_datastore(client, kept)) == {"key": "AKIA", "secret": "rotated"}
    assert find_datastore(client, name).options == {}
    dropped = parse_datastore({"name": name, "type": "s3", "bucket": "b", "credentials": None}, "test", Path("/"))
    assert create_datastore(client, dropped).credentials is None
    for place in ({"bucket": "other"}, {"prefix": "p"}, {"endpoint_url": "http://elsewhere:9000"}):
        with pytest.raises(
            InvalidDocument, match=f"datastore '{name}' is at s3://b, and jobs refer to that by its name"
        ):
            create_datastore(client, s3_like(name, **place))


def test_a_credential_added_to_a_document_of_an_older_kind_is_hidden(client: SyncPrefectClient, name: str) -> None:
    older = (
        "import sys\nfrom prefect.blocks.core import Block\n"
        "class Datastore(Block):\n"
        "    _block_type_name = 'Batch Datastore'\n    _block_type_slug = 'batch-datastore'\n    url: str\n"
        "Datastore(url='s3://b').save(sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", older, name], check=True, timeout=120)
    assert secret_of(create_datastore(client, s3_like(name))) == {"key": "AKIA", "secret": SECRET}
    answer = httpx.get(f"{str(client.api_url).rstrip('/')}/block_types/slug/batch-datastore/block_documents")
    assert name in answer.text and SECRET not in answer.text


def test_names_that_no_block_may_have(client: SyncPrefectClient, name: str) -> None:
    underscored = name.replace("-", "_")
    create_datastore(client, Datastore(name=underscored, url="/one"))
    create_datastore(client, Datastore(name=name, url="/two"))
    assert find_datastore(client, underscored.upper()).url == "/one"
    assert find_datastore(client, name).url == "/two"


def test_one_that_is_not_there(client: SyncPrefectClient, name: str) -> None:
    create_datastore(client, Datastore(name=name, url="/x"))
    with pytest.raises(NotFound, match=rf"datastore 'nowhere' does not exist \(there are: .*{name}.*\): make it with"):
        find_datastore(client, "nowhere")
    with pytest.raises(NotFound, match="'nowhere' does not exist"):
        open_folder("azureml://datastores/nowhere/paths/x")


def test_the_first_default_is_made_once(client: SyncPrefectClient) -> None:
    def ask(_: int) -> str:
        with get_client(sync_client=True) as own:
            return default_datastore(own).url

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert default_datastore(client).name == "default"


@pytest.mark.usefixtures("_default_again")
def test_another_default(client: SyncPrefectClient, name: str, tmp_path: Path) -> None:
    create_datastore(client, Datastore(name=name, url=str(tmp_path)))
    with pytest.raises(InvalidDocument, match="datastore 'default' is the default, which takes every job's files"):
        create_datastore(client, Datastore(name="default", url=str(tmp_path), read_only=True))
    for chosen in ("default", name):  # the pointer is made, then moved
        set_default(client, chosen)
        assert default_datastore(client).name == chosen
    with pytest.raises(BatchError, match=f"datastore '{name}' is the default: first choose another"):
        delete_datastore(client, name)
    with pytest.raises(InvalidDocument, match=f"datastore '{name}' is the default, which takes every job's files"):
        create_datastore(client, Datastore(name=name, url=str(tmp_path), read_only=True))
    create_datastore(client, Datastore(name=f"{name}-ro", url=str(tmp_path), read_only=True))
    with pytest.raises(InvalidDocument, match=f"datastore '{name}-ro' is read_only"):
        set_default(client, f"{name}-ro")
    with pytest.raises(NotFound, match="'nowhere' does not exist"):
        set_default(client, "nowhere")
    store.delete(Datastore, name, client)  # as by the UI
    with pytest.raises(NotFound, match=f"the default datastore '{name}' is gone: choose another with"):
        default_datastore(client)
    create_datastore(client, Datastore(name=name, url=str(tmp_path)))
    set_default(client, "default")
    delete_datastore(client, name)
    with pytest.raises(NotFound):
        find_datastore(client, name)


def test_the_datastore_of_a_place_has_the_longest_root(client: SyncPrefectClient, name: str, tmp_path: Path) -> None:
    bucket = name
    for suffix, url in [("a", f"s3://{bucket}"), ("b", f"s3://{bucket}/x/y"), ("c", str(tmp_path))]:
        create_datastore(client, Datastore(name=f"{name}-{suffix}", url=url))
    found: list[tuple[str, str] | None] = []
    for url in (f"s3://{bucket}/x/y/z", f"s3://{bucket}/x/yz", str(tmp_path / "d" / "e"), "s3://unheard-of/x"):
        held = datastore_of(client, url)
        found.append((held[0].name, held[1]) if held else None)
    assert found == [(f"{name}-b", "z"), (f"{name}-a", "x/yz"), (f"{name}-c", "d/e"), None]


def test_a_place_in_two_datastores_that_open_it_differently_is_nobodys(client: SyncPrefectClient, name: str) -> None:
    for suffix in ("a", "b"):
        create_datastore(client, s3_like(f"{name}-{suffix}", bucket=name))
    held = datastore_of(client, f"s3://{name}/x")
    assert held is not None and held[1] == "x"
    create_datastore(client, s3_like(f"{name}-c", "another-secret", bucket=name))
    with pytest.raises(InvalidDocument, match=f"{name}-a, {name}-b, {name}-c.*name one, as in {name}-a:x") as refused:
        datastore_of(client, f"s3://{name}/x")
    assert "secret" not in str(refused.value)


def test_a_process_asks_once_until_the_time_is_over(
    client: SyncPrefectClient, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_datastore(client, Datastore(name=name, url=f"memory://{name}", options={"token": "first"}))
    reference = f"azureml://datastores/{name}/paths/a"
    assert open_folder(reference).fs.storage_options["token"] == "first"
    create_datastore(client, Datastore(name=name, url=f"memory://{name}", options={"token": "second"}))
    assert open_folder(reference).fs.storage_options["token"] == "first"
    monkeypatch.setattr(module, "CACHE_SECONDS", -1.0)
    assert open_folder(reference).fs.storage_options["token"] == "second"


@pytest.mark.parametrize("kind", ["s3", "azure_blobs"])
def test_a_reference_opens_with_the_datastores_credentials(
    kind: str, request: pytest.FixtureRequest, client: SyncPrefectClient, name: str, tmp_path: Path
) -> None:
    place: Any = request.getfixturevalue(kind)
    if kind == "s3":
        keys = {"access_key_id": place.options["key"], "secret_access_key": place.options["secret"]}
        data = {"type": "s3", "bucket": place.bucket, "endpoint_url": place.endpoint_url, "prefix": "root"}
    else:
        keys = {"connection_string": place.connection_string}
        data = {
            "type": "azure_blob",
            "account_name": place.account,
            "container_name": place.container,
            "prefix": "root",
        }
    datastore = parse_datastore({"name": name, "credentials": keys, **data}, "test", tmp_path)
    create_datastore(client, datastore)
    (tmp_path / "data").mkdir()
    for text in ("a.csv", "b #1%20[x].csv"):
        (tmp_path / "data" / text).write_text(text)
    reference = upload(tmp_path / "data", find_datastore(client, name))
    assert reference.startswith(f"azureml://datastores/{name}/paths/uploads/")
    folder = open_folder(reference)
    assert {name: folder.read(name).decode() for name in folder.files()} == {
        text: text for text in ("a.csv", "b #1%20[x].csv")
    }
    assert folder.url.startswith(f"{datastore.url}/uploads/")
    assert upload(tmp_path / "data", datastore) == reference
    held = datastore_of(client, folder.url)
    assert held is not None and held[0].name == name and held[0].reference(held[1]) == reference


def test_a_wrong_key_is_one_line_without_the_key(s3: Any, client: SyncPrefectClient, name: str, tmp_path: Path) -> None:
    datastore = s3_like(name, endpoint_url="http://127.0.0.1:1")
    create_datastore(client, datastore)
    (tmp_path / "a.csv").write_text("a")
    with pytest.raises(BatchError) as raised:
        upload(tmp_path / "a.csv", datastore)
    assert SECRET not in str(raised.value) and "\n" not in str(raised.value)


def test_commands(
    server: LocalServer, cli_here: Callable[..., subprocess.CompletedProcess[str]], name: str, tmp_path: Path
) -> None:
    made = cli_here("datastore", "create", name, "--type", "local", "--path", "here", "--read-only", cwd=tmp_path)
    assert made.stdout == f"{name}\n"
    shown = json.loads(cli_here("datastore", "show", name).stdout)
    assert (shown["url"], shown["read_only"], shown["default"]) == (str(tmp_path / "here"), True, False)
    path = tmp_path / "store.yml"
    path.write_text(f"name: {name}-s3\ntype: s3\nbucket: b\ncredentials:\n  access_key_id: AKIA\n")
    failed = cli_here("datastore", "create", "-f", path, code=1)
    assert failed.stderr == f"Error: {path}: credentials.secret_access_key is missing\n"
    path.write_text(f"name: {name}-s3\ntype: s3\nbucket: b\n")
    keys = ("--set", "credentials.access_key_id=12345", "--set", f"credentials.secret_access_key={SECRET}")
    cli_here("datastore", "create", "-f", path, *keys, "--set", "region=eu-west-1")
    text = cli_here("datastore", "show", f"{name}-s3").stdout
    assert SECRET not in text and "12345" not in text
    assert json.loads(text)["credentials"] == ["key", "secret"]
    wrong = cli_here("datastore", "create", "-f", path, "--set", f"credentials={SECRET}", code=1)
    assert SECRET not in wrong.stderr and "write credentials.KEY=VALUE" in wrong.stderr
    listed = cli_here("datastore", "list").stdout.splitlines()
    assert listed[0].split("\t") == ["NAME", "TYPE", "URL", "READ_ONLY", "DEFAULT"]
    assert f"{name}\tlocal\t{tmp_path / 'here'}\tyes\tno" in listed
    assert [line.split("\t")[0] for line in listed if line.endswith("yes")] == ["default"]
    refused = cli_here("datastore", "delete", "default", "--yes", code=1)
    assert refused.stderr.startswith("Error: datastore 'default' is the default: first choose another")
    cli_here("datastore", "delete", name, "--yes")
    assert "does not exist" in cli_here("datastore", "show", name, code=1).stderr


@pytest.mark.usefixtures("_default_again")
def test_set_default_command(
    client: SyncPrefectClient, cli_here: Callable[..., subprocess.CompletedProcess[str]], name: str, tmp_path: Path
) -> None:
    cli_here("datastore", "create", name, "--type", "local", "--path", tmp_path)
    assert cli_here("datastore", "set-default", name).stdout == f"{name}\n"
    assert default_datastore(client).name == name
    set_default(client, "default")
