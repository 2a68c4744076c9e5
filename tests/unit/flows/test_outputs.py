"""Outputs: any place that may be written, and nothing that stands there is touched."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient

from prefect_batch.blocks import store
from prefect_batch.blocks.datastore import Datastore, create_datastore, default_datastore
from prefect_batch.blocks.settings import ModelSettings
from prefect_batch.flows.locations import WORKING_DIRECTORY, Location
from prefect_batch.flows.outputs import check_output, find_output
from prefect_batch.interfaces.local_server import LocalServer
from prefect_batch.scoring.errors import AlreadyExists, BatchError, InvalidDocument, NotFound, StorageFailed
from prefect_batch.scoring.storage import Folder


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A folder that is not there yet, on this machine and in a store."""
    return Folder(str(tmp_path / "a" / "out") if request.param == "local" else f"memory://{tmp_path.name}/a/out")


@pytest.fixture
def client(server: LocalServer) -> Iterator[SyncPrefectClient]:
    with store.api() as made:
        yield made


def find(
    output: Any, settings: ModelSettings | None = None, client: SyncPrefectClient | None = None
) -> tuple[Location, ModelSettings]:
    return find_output(client, {"score": output}, "job-1", "/jobs/job-1", settings or ModelSettings())


@pytest.mark.parametrize(
    "spell",
    [
        lambda path: path,
        lambda path: f"{path}/",
        lambda path: f"file://{path}",
        lambda path: {"path": path},
        lambda path: {"path": path, "type": "uri_folder", "mode": "rw_mount"},
        lambda path: {"path": path, "type": "UriFolder"},
        lambda path: {"path": path, "type": "uri_file", "mode": "upload"},
        lambda path: {"path": path, "type": "UriFile"},
    ],
)
def test_a_local_folder(tmp_path: Path, spell: Any) -> None:
    path = str(tmp_path / "out")
    location, settings = find(spell(path))
    assert (location.url, location.reference) == (path, path)
    assert settings.file_name == "predictions.csv"
    assert not Path(path).exists()


def test_a_url(tmp_path: Path) -> None:
    location, _ = find(f"memory://{tmp_path.name}/out/")
    assert location.url == location.reference == f"memory://{tmp_path.name}/out"


def test_a_relative_path_is_taken_from_where_the_worker_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WORKING_DIRECTORY, str(tmp_path))
    assert find("here/out")[0].url == str(tmp_path / "here" / "out")


@pytest.mark.parametrize("name", ["x.csv", "X.CSV", "my rows.jsonl", "x.parquet", "x.csv.gz", "x.jsonl.zst"])
@pytest.mark.parametrize("kind", ["uri_file", "UriFile"])
def test_a_file_is_a_folder_and_a_name(tmp_path: Path, name: str, kind: str) -> None:
    location, settings = find({"path": f"{tmp_path}/out/{name}", "type": kind})
    assert location.url == location.reference == f"{tmp_path}/out"
    assert settings.file_name == name


@pytest.mark.parametrize(
    ("path", "kind"), [("out/x.csv", "uri_folder"), ("out/x.csv/", "uri_file"), ("out/v1.2", "uri_file")]
)
def test_what_is_not_called_a_file_is_a_folder(tmp_path: Path, path: str, kind: str) -> None:
    location, settings = find({"path": f"{tmp_path}/{path}", "type": kind})
    assert location.url == f"{tmp_path}/{path}".rstrip("/")
    assert settings.file_name == "predictions.csv"


def test_a_file_that_the_settings_rule_out(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match="output_file_name has no meaning with output_action summary_only"):
        find({"path": f"{tmp_path}/x.csv", "type": "uri_file"}, ModelSettings(output_action="summary_only"))


@pytest.mark.parametrize("outputs", [{}, {"score": None}, {"score": ""}, {"score": {"type": "uri_file"}}])
def test_the_default_is_the_jobs_own_folder_in_the_default_datastore(
    client: SyncPrefectClient, outputs: dict[str, Any]
) -> None:
    location, _ = find_output(client, outputs, "job-1", "/jobs/job-1", ModelSettings())
    datastore = default_datastore(client)
    assert location.given is None
    assert location.datastore == datastore.name
    assert location.url == f"{datastore.url}/azureml/job-1/score"
    assert location.reference == datastore.reference("azureml/job-1/score")


def test_the_default_without_a_server_is_in_the_jobs_folder(tmp_path: Path) -> None:
    location, _ = find_output(None, {}, "job-1", str(tmp_path / "job"), ModelSettings())
    assert (location.given, location.url) == (None, f"{tmp_path}/job/score")


def test_a_path_in_a_datastore(client: SyncPrefectClient, tmp_path: Path) -> None:
    name = "outputs-" + tmp_path.name.replace("_", "-").lower()
    root = f"memory://{tmp_path.name}"
    create_datastore(client, Datastore(name=name, url=root, options={"skip_instance_cache": False}))
    for given in (f"azureml://datastores/{name}/paths/to/out/", f"{name}:to/out", f"{root}/to/out"):
        location, _ = find(given, client=client)
        assert location.url == f"{root}/to/out"
        assert location.reference == f"azureml://datastores/{name}/paths/to/out"
        assert location.datastore == name
    location, settings = find({"path": f"{name}:x.csv", "type": "uri_file"}, client=client)
    location.open().put("x", b"")
    assert Folder(root).files() == ["x"]
    assert settings.file_name == "x.csv"


def test_a_read_only_datastore_is_refused(client: SyncPrefectClient, tmp_path: Path) -> None:
    name = "read-only-" + tmp_path.name.replace("_", "-").lower()
    create_datastore(client, Datastore(name=name, url=str(tmp_path), read_only=True))
    for given in (f"{name}:out", str(tmp_path / "out")):
        with pytest.raises(InvalidDocument, match=r"^outputs.score: datastore 'read-only-.*' is read_only: name a fol"):
            find(given, client=client)


def test_a_datastore_that_there_is_not(client: SyncPrefectClient) -> None:
    with pytest.raises(NotFound, match="datastore 'nowhere' does not exist"):
        find("nowhere:out", client=client)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("azureml:heart@latest", "^outputs.score: 'azureml:heart@latest' is a data asset, which never changes: name a"),
        ("data:heart:1", "is a data asset"),
        ("http://example.org/out", "can only be read: name a folder on a storage"),
        ("https://example.org/out", "can only be read"),
        ("/tmp/out/*", r"^outputs.score: '/tmp/out/\*' is a pattern: name one folder"),
        ("s3://bucket/20[12]/out", "is a pattern"),
        ("azureml://datastores/there/paths/out", "a trial run has none: give a path or a URL"),
        (7, "^outputs.score: 7 is not understood: give a path, or a mapping with one"),
        ({"path": "/tmp/out", "kind": "uri_file"}, "^outputs.score: kind"),
        ({"path": "/tmp/out", "type": "mltable"}, "^outputs.score: type"),
    ],
)
def test_what_no_output_can_be(given: Any, message: str) -> None:
    with pytest.raises(InvalidDocument, match=message):
        find(given)


def test_two_outputs_are_refused() -> None:
    with pytest.raises(InvalidDocument, match=r"takes one, 2 were given \(a, b\)"):
        find_output(None, {"b": "/tmp/b", "a": "/tmp/a"}, "job-1", "/jobs/job-1", ModelSettings())


@pytest.mark.parametrize("file_name", ["x.csv", "", None])
def test_a_free_place_stays_as_it_is(folder: Folder, file_name: str | None) -> None:
    check_output(folder, file_name)
    assert not folder.exists()
    assert not folder.is_local or not Path(folder.path).parent.exists()


def test_only_the_file_itself_is_in_the_way_of_a_file(folder: Folder) -> None:
    folder.put("y.csv", b"")
    check_output(folder, "x.csv")
    folder.put("x.csv", b"")
    with pytest.raises(AlreadyExists, match=r"^outputs: .*/x.csv exists already and is not overwritten: name another"):
        check_output(folder, "x.csv")
    assert folder.names() == ["x.csv", "y.csv"]


@pytest.mark.parametrize("file_name", ["", None])
def test_anything_is_in_the_way_of_a_folder(folder: Folder, file_name: str | None) -> None:
    folder.put("deep/y", b"")
    with pytest.raises(AlreadyExists, match=r"^outputs: .*/out is not empty and exists already and is not overwritten"):
        check_output(folder, file_name)


def test_a_file_is_no_folder(folder: Folder) -> None:
    folder.put("x", b"")
    with pytest.raises(InvalidDocument, match=r"^outputs: .*/out/x is a file: name a folder$"):
        check_output(folder / "x", "x.csv")


def test_below_a_file_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BatchError, match=r"^outputs: .*/file/out cannot be written: Not a directory: let the worker"):
        check_output(Folder(str(tmp_path / "file" / "out")), "x.csv")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "may not write it (AccessDenied)"), r"may not write it \(AccessDenied\)"),
        (StorageFailed("cannot reach it"), "cannot reach it"),
    ],
)
def test_a_place_that_may_not_be_written(
    folder: Folder, error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise error

    monkeypatch.setattr(Folder, "create", refused)
    with pytest.raises(
        BatchError, match=rf"^outputs: .*/a/out cannot be written: {reason}: let the worker write there"
    ):
        check_output(folder, "x.csv")
