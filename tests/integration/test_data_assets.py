"""Data assets on a real server: versions that never change and are never lost, `latest` by the server's clock."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from prefect_batch.blocks.data_asset import DataAsset
from prefect_batch.blocks.datastore import (
    POINTER,
    Datastore,
    create_datastore,
    open_folder,
    set_default,
)
from prefect_batch.blocks.datastore_file import parse_datastore
from prefect_batch.blocks.versions import create_version, find_version, list_versions, set_archived
from prefect_batch.flows.upload import create_data_asset
from prefect_batch.scoring.errors import AlreadyExists, InvalidDocument, NotFound


@pytest.fixture
def name() -> str:
    return f"asset.{uuid4().hex[:8]}"


def make(client: SyncPrefectClient, name: str, version: str | None = None, path: str = "/data") -> DataAsset:
    return create_version(client, DataAsset(name=name, version=version, path=path, reference=path))


def test_versions_count_up_and_never_change(client: SyncPrefectClient, name: str) -> None:
    assert [make(client, name).version for _ in range(2)] == ["1", "2"]
    assert make(client, name, "2024-01").version == "2024-01"
    assert make(client, name, "7").version == "7"
    assert make(client, name).version == "8"
    with pytest.raises(AlreadyExists, match=f"data asset '{name}' has a version 7 already, and versions never change"):
        make(client, name, "7", "/other")
    assert find_version(DataAsset, client, name, "7").path == "/data"
    assert [asset.version for asset in list_versions(DataAsset, client, name)] == ["1", "2", "2024-01", "7", "8"]


def test_latest_is_the_one_created_last(client: SyncPrefectClient, name: str) -> None:
    for version in ("9", "3"):
        make(client, name, version)
    found = find_version(DataAsset, client, name, label="latest")
    assert found.version == find_version(DataAsset, client, name).version == "3"
    assert found.created_at is not None
    set_archived(DataAsset, client, name, "9", True)
    set_archived(DataAsset, client, name, "9", False)  # a change is no creation
    assert find_version(DataAsset, client, name).version == "3"


def test_archived_versions(client: SyncPrefectClient, name: str) -> None:
    for _ in range(3):
        make(client, name)
    set_archived(DataAsset, client, name, "3", True)
    assert find_version(DataAsset, client, name).version == "2"
    assert find_version(DataAsset, client, name, "3").archived
    assert make(client, name).version == "4"  # a number is never used twice
    assert [asset.version for asset in set_archived(DataAsset, client, name, None, True)] == ["1", "2", "3", "4"]
    with pytest.raises(NotFound, match=r"has archived versions only \(1 \(archived\), .*prefect-batch data restore"):
        find_version(DataAsset, client, name)
    set_archived(DataAsset, client, name, "1", False)
    assert find_version(DataAsset, client, name).version == "1"


def test_what_is_not_there(client: SyncPrefectClient, name: str) -> None:
    with pytest.raises(NotFound, match=f"data asset '{name}' does not exist"):
        find_version(DataAsset, client, name)
    make(client, name)
    with pytest.raises(NotFound, match=f"data asset '{name}' has no version '2': it has 1$"):
        find_version(DataAsset, client, name, "2")
    with pytest.raises(NotFound, match=f"data asset '{name}' has no label 'best': write @latest"):
        find_version(DataAsset, client, name, label="best")
    with pytest.raises(NotFound, match=f"did you mean {name}?"):
        find_version(DataAsset, client, f"{name}x")
    with pytest.raises(NotFound):
        set_archived(DataAsset, client, f"{name}x", None, True)


def test_names_differ_by_every_letter(client: SyncPrefectClient, name: str) -> None:
    for one in (name, name.upper(), name.replace(".", "_")):
        make(client, one, "1", f"/{one}")
    assert {find_version(DataAsset, client, one).path for one in (name, name.upper())} == {
        f"/{name}",
        f"/{name.upper()}",
    }
    assert len([asset for asset in list_versions(DataAsset, client) if asset.name.lower() == name]) == 2


def test_nobodys_version_is_lost(client: SyncPrefectClient, name: str) -> None:
    def one(number: int) -> str | None:
        with get_client(sync_client=True) as own:
            return make(own, name, path=f"/{number}").version

    code = (
        "import sys\nfrom prefect.client.orchestration import get_client\n"
        "from prefect_batch.blocks.data_asset import DataAsset\n"
        "from prefect_batch.blocks.versions import create_version\n"
        "with get_client(sync_client=True) as client:\n"
        "    for number in range(3):\n"
        "        asset = DataAsset(name=sys.argv[1], path=f'/{sys.argv[2]}-{number}')\n"
        "        print(create_version(client, asset).version)\n"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", code, name, mark], stdout=subprocess.PIPE, text=True) for mark in "ab"
    ]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(one, range(6)))
    for other in others:
        got += other.communicate(timeout=120)[0].split()
        assert other.returncode == 0
    assert sorted(got, key=int) == [str(number) for number in range(1, 13)]
    paths = {asset.path for asset in list_versions(DataAsset, client, name)}
    assert paths == {f"/{number}" for number in range(6)} | {
        f"/{mark}-{number}" for mark in "ab" for number in range(3)
    }


def test_what_is_checked_before_it_is_saved(client: SyncPrefectClient, name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("a")
    for path, type, said in [
        ("missing", "uri_folder", r"path: 'missing' does not exist \(looked for .*/missing\)"),
        ("data", "uri_file", "path: 'data' is a folder: write type: uri_folder"),
        ("data/a.csv", "uri_folder", r"path: 'data/a\.csv' is a file: write type: uri_file"),
        ("azureml:other@latest", "uri_folder", "is a data asset itself"),
        ("azureml://datastores/nowhere/paths/x", "uri_folder", "datastore 'nowhere' does not exist"),
    ]:
        with pytest.raises((NotFound, InvalidDocument), match=said):
            create_data_asset(client, DataAsset.model_validate({"name": name, "path": path, "type": type}), tmp_path)
    assert list_versions(DataAsset, client, name) == []
    made = create_data_asset(client, DataAsset(name=name, path="data"), tmp_path)
    assert (made.path, made.reference) == ("data", str(tmp_path / "data"))
    file = create_data_asset(client, DataAsset(name=name, path="data/a.csv", type="uri_file"), tmp_path)
    assert file.reference == str(tmp_path / "data" / "a.csv")


def test_places_in_datastores(client: SyncPrefectClient, name: str, tmp_path: Path) -> None:
    store = name.replace(".", "-")
    create_datastore(client, Datastore(name=store, url=str(tmp_path)))
    (tmp_path / "data").mkdir()
    made = create_data_asset(client, DataAsset(name=name, path=f"{store}:data"), tmp_path)
    assert (made.path, made.reference) == (f"{store}:data", str(tmp_path / "data"))


def test_commands(
    client: SyncPrefectClient,
    cli_here: Callable[..., subprocess.CompletedProcess[str]],
    name: str,
    tmp_path: Path,
    s3: Any,
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("a")
    (tmp_path / "asset.yml").write_text(f"name: {name}\npath: data\ntags: {{a: b}}\n")
    assert cli_here("data", "create", "-f", tmp_path / "asset.yml").stdout == f"azureml:{name}:1\n"
    local = cli_here("data", "create", "-n", name, "--path", "data/a.csv", "--type", "uri_file", cwd=tmp_path)
    assert (local.stdout, local.stderr) == (f"azureml:{name}:2\n", "")
    keys = {"access_key_id": s3.options["key"], "secret_access_key": s3.options["secret"]}
    data = {"type": "s3", "bucket": s3.bucket, "endpoint_url": s3.endpoint_url, "credentials": keys}
    store = name.replace(".", "-")
    create_datastore(client, parse_datastore({"name": store, **data}, "test", tmp_path))
    set_default(client, store)
    try:
        sent = cli_here("data", "create", "-n", name, "--path", "data", "--version", "sent", cwd=tmp_path)
        (tmp_path / "empty").mkdir()
        empty = cli_here("data", "create", "-n", name, "--path", "empty", cwd=tmp_path, code=1)
    finally:
        client.delete_variable_by_name(POINTER)
    assert (sent.stdout, sent.stderr) == (f"azureml:{name}:sent\n", "Uploading data\n")
    assert "holds no file" in empty.stderr and empty.stderr.count("\n") == 1
    shown = json.loads(cli_here("data", "show", name, "--label", "latest").stdout)
    assert (shown["id"], shown["path"]) == (f"azureml:{name}:sent", "data")
    assert shown["reference"].startswith(f"azureml://datastores/{store}/paths/uploads/")
    assert open_folder(shown["reference"]).read("a.csv") == b"a"
    assert cli_here("data", "archive", name, "--version", "sent").stdout == f"azureml:{name}:sent\n"
    listed = [line.split("\t") for line in cli_here("data", "list", "-n", name).stdout.splitlines()]
    assert [line[:3] for line in listed] == [
        ["NAME", "VERSION", "TYPE"],
        [name, "1", "uri_folder"],
        [name, "2", "uri_file"],
    ]
    assert f"{name}\tsent\t" in cli_here("data", "list", "--include-archived").stdout
    cli_here("data", "restore", name)
    assert json.loads(cli_here("data", "show", "-n", name).stdout)["version"] == "sent"
    refused = cli_here("data", "create", "-n", name, "--path", "data", "--type", "mltable", code=1, cwd=tmp_path)
    assert refused.stderr.startswith("Error: data: type: mltable is not supported")
