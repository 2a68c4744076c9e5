"""Datastores: what their files become, what opens them, and where no credential shows."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import get_current_settings

from prefect_batch.blocks import datastore as module
from prefect_batch.blocks import store
from prefect_batch.blocks.datastore import SETTING, Datastore, default_url, open_folder
from prefect_batch.blocks.datastore_file import load_datastore, parse_datastore
from prefect_batch.scoring.errors import InvalidDocument

SECRET = "SeCrEt/+==KEY"
S3_KEYS = {"access_key_id": "AKIA123", "secret_access_key": SECRET}


def parsed(**data: Any) -> Datastore:
    return parse_datastore({"name": "store", **data}, "store.yml", Path("/here"))


def secret_options(datastore: Datastore) -> dict[str, Any] | None:
    return datastore.credentials.get_secret_value() if datastore.credentials else None


def test_in_prefects_home_unless_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv(SETTING, raising=False)
    assert default_url() == str(get_current_settings().home / "prefect-batch")
    monkeypatch.setenv(SETTING, str(tmp_path))
    assert default_url() == str(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(SETTING, "here")
    assert default_url() == str(tmp_path / "here")
    monkeypatch.setenv(SETTING, "s3://bucket/folder")
    assert default_url() == "s3://bucket/folder"
    monkeypatch.setenv(SETTING, "https://account.blob.core.windows.net/box/a")
    assert default_url() == "abfss://box@account.dfs.core.windows.net/a"
    for given, said in [
        ("azureml:heart@latest", "must be a local folder or a URL"),
        ("s3://k:x@b", "make a datastore"),
    ]:
        monkeypatch.setenv(SETTING, given)
        with pytest.raises(InvalidDocument, match=f"^{SETTING}: .*{said}"):
            default_url()


@pytest.mark.parametrize(
    ("data", "type", "url", "options", "secret"),
    [
        ({"type": "local", "path": "/data/x/"}, "local", "/data/x", {}, None),
        ({"type": "local", "path": "../x"}, "local", "/x", {}, None),
        ({"type": "local", "path": "file:///x"}, "local", "/x", {}, None),
        ({"type": "s3", "bucket": "b"}, "s3", "s3://b", {}, None),
        ({"type": "S3", "bucket": "b", "prefix": "/p/q/"}, "s3", "s3://b/p/q", {}, None),
        ({"type": "s3", "bucket": "b", "anonymous": True}, "s3", "s3://b", {"anon": True}, None),
        (
            {
                "type": "s3",
                "bucket": "b",
                "endpoint_url": "http://host:9000",
                "region": "eu-west-1",
                "credentials": {**S3_KEYS, "session_token": "t0ken"},
            },
            "s3",
            "s3://b",
            {"endpoint_url": "http://host:9000", "client_kwargs": {"region_name": "eu-west-1"}},
            {"key": "AKIA123", "secret": SECRET, "token": "t0ken"},
        ),
        (
            {"type": "azure_blob", "account_name": "acc", "container_name": "box", "protocol": "https"},
            "azure_blob",
            "abfss://box@acc.dfs.core.windows.net",
            {"account_name": "acc", "anon": False},
            None,
        ),
        (
            {
                "type": "azure_blob",
                "account_name": "acc",
                "container_name": "box",
                "endpoint": "core.chinacloudapi.cn",
                "credentials": {"account_key": SECRET},
            },
            "azure_blob",
            "abfss://box@acc.dfs.core.chinacloudapi.cn",
            {"account_name": "acc", "anon": False, "account_host": "acc.blob.core.chinacloudapi.cn"},
            {"account_key": SECRET},
        ),
        (
            {
                "type": "azure_data_lake_gen2",
                "account_name": "acc",
                "filesystem": "lake",
                "prefix": "p",
                "credentials": {"tenant_id": "t", "client_id": "c", "client_secret": SECRET},
            },
            "azure_data_lake_gen2",
            "abfss://lake@acc.dfs.core.windows.net/p",
            {"account_name": "acc", "anon": False},
            {"tenant_id": "t", "client_id": "c", "client_secret": SECRET},
        ),
        (
            {"type": "AzureDataLakeGen2", "account_name": "acc", "filesystem": "lake", "anonymous": True},
            "azure_data_lake_gen2",
            "abfss://lake@acc.dfs.core.windows.net",
            {"account_name": "acc", "anon": True},
            None,
        ),
        (
            {"type": "gcs", "bucket": "b", "credentials": {"service_account": {"private_key": SECRET}}},
            "gcs",
            "gs://b",
            {},
            {"token": {"private_key": SECRET}},
        ),
        ({"type": "gcs", "bucket": "b", "anonymous": True}, "gcs", "gs://b", {"token": "anon"}, None),
        (
            {
                "type": "url",
                "url": "sftp://host:22/data",
                "options": {"timeout": 5},
                "credentials": {"username": "me", "password": SECRET},
            },
            "url",
            "sftp://host:22/data",
            {"timeout": 5},
            {"username": "me", "password": SECRET},
        ),
        (
            {"type": "url", "url": "https://acc.blob.core.windows.net/box/a%20b"},
            "url",
            "abfss://box@acc.dfs.core.windows.net/a b",
            {},
            None,
        ),
    ],
)
def test_kinds(
    data: dict[str, Any], type: str, url: str, options: dict[str, Any], secret: dict[str, Any] | None
) -> None:
    datastore = parsed(**data)
    assert (datastore.type, datastore.url, datastore.options, secret_options(datastore)) == (type, url, options, secret)


AZURE = {"type": "azure_blob", "account_name": "acc", "container_name": "box"}
ONE_WAY = "give one of account_key, sas_token, connection_string, or tenant_id with client_id and client_secret"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "type is missing: write one of local, azure_blob, azure_data_lake_gen2, s3, gcs, url"),
        ({"type": "ftp"}, "type: 'ftp' is not known: write one of local"),
        ({"type": "azure_file"}, "type: azure_file is not supported: mount the share"),
        ({"type": "azure_data_lake_gen1"}, "type: azure_data_lake_gen1 is not supported: Azure has retired it"),
        ({"type": "s3"}, "bucket is missing"),
        ({"type": "s3", "bucket": "b", "buket": "c"}, "buket is not a known key: did you mean bucket?"),
        ({"type": "s3", "bucket": "s3://b/x"}, "bucket: 's3://b/x' must be a plain name"),
        ({"type": "s3", "bucket": "b", "prefix": "a/../../c"}, "prefix: 'a/../../c' must not hold '..'"),
        ({"type": "s3", "bucket": "b", "name": "data"}, "name: 'data' means something else in front of a colon"),
        ({"type": "s3", "bucket": "b", "name": "c"}, "name: 'c' must be 2 to 128 letters"),
        ({"type": "local"}, "path is missing"),
        ({"type": "local", "path": "s3://b"}, "'s3://b' is not a local folder: write type: url"),
        ({"type": "url", "url": "/x"}, "'/x' is not a URL of storage: write type: local"),
        ({"type": "url", "url": "nothing://x"}, "nothing:// is not a protocol that fsspec knows"),
        (AZURE | {"credentials": {}}, ONE_WAY),
        (AZURE | {"credentials": {"account_key": "a", "sas_token": "b"}}, ONE_WAY),
        (AZURE | {"credentials": {"tenant_id": "a", "client_id": "b"}}, ONE_WAY),
        (AZURE | {"credentials": {"account_key": "a"}, "anonymous": True}, "anonymous: true goes without credentials"),
    ],
)
def test_impossible_files(data: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDocument) as raised:
        parsed(**data)
    message = str(raised.value)
    assert message.startswith("store.yml: ") and said in message and "\n" not in message


@pytest.mark.parametrize(
    "data",
    [
        {"type": "s3", "bucket": "b", "credentials": SECRET},
        {"type": "s3", "bucket": "b", "credentials": [SECRET]},
        {"type": "s3", "bucket": "b", "credentials": {"access_key_id": "a", "secret_access_key": [SECRET]}},
        {"type": "s3", "bucket": "b", "credentials": {"access_key_id": "a", "secret_acces_key": SECRET}},
        {"type": "s3", "bucket": "b", "secret_access_key": SECRET},
        {"type": "s3", "bucket": "b", "options": {"secret": SECRET}},
        {"type": "s3", "bucket": "b", "options": {"client_kwargs": {"aws_secret_access_key": SECRET}}},
        {"type": "s3", "bucket": "b", "options": {"proxy": f"http://me:{SECRET}@host"}},
        {"type": "s3", "bucket": "b", "endpoint_url": f"http://me:{SECRET}@host"},
        AZURE | {"credentials": {"account_key": SECRET, "sas_token": SECRET}},
        AZURE | {"credentials": {"account_key": {"x": SECRET}}},
        AZURE | {"credentials": {"account_key": SECRET}, "anonymous": True},
        {"type": "gcs", "bucket": "b", "credentials": {"service_account": SECRET}},
        {"type": "gcs", "bucket": "b", "credentials": {"service_account": "{" + SECRET}},
        {"type": "url", "url": "s3://b", "credentials": SECRET},
        {"type": "url", "url": f"sftp://me:{SECRET}@host"},
    ],
)
def test_no_message_repeats_a_credential(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocument) as raised:
        parsed(**data)
    shown = "".join(traceback.format_exception(raised.value))
    message = str(raised.value)
    assert SECRET not in message and "\n" not in message
    assert not any("SeCrEt" in line for line in shown.splitlines() if "Error" in line or "InvalidDocument" in line)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(json.dumps({"private_key": SECRET}))
    path = tmp_path / "store.yml"
    path.write_text("name: Store\ntype: gcs\nbucket: b\ncredentials: {service_account: key.json}\nread_only: true\n")
    datastore = load_datastore(path)
    assert (datastore.name, datastore.read_only, secret_options(datastore)) == (
        "store",
        True,
        {"token": {"private_key": SECRET}},
    )
    path.write_text("name: store\ntype: local\npath: data\n")
    assert load_datastore(path, {"description": "d"}).url == str(tmp_path / "data")


def test_one_of_before_there_were_kinds_still_loads() -> None:
    assert Datastore.model_validate({"url": "/data"}) == Datastore(name="default", type="local", url="/data")
    assert Datastore.model_validate({"url": "s3://b/x"}).type == "url"


def test_a_credential_shows_nowhere_but_where_it_is_saved() -> None:
    datastore = parsed(type="gcs", bucket="b", credentials={"service_account": {"deep": {"private_key": SECRET}}})
    for shown in (
        repr(datastore),
        str(datastore),
        datastore.model_dump_json(),
        json.dumps(datastore.model_dump(mode="json")),
    ):
        assert SECRET not in shown
    assert SECRET in json.dumps(store.dump(datastore))
    assert "credentials.*" in Datastore.model_json_schema()["secret_fields"]
    assert datastore.credential_names() == ["token"]


def test_what_must_never_show() -> None:
    connection = f"DefaultEndpointsProtocol=https;AccountName=acc;AccountKey={SECRET}"
    assert SECRET in set(module._secrets({"connection_string": connection}))
    assert "sIgN" in set(module._secrets({"sas_token": "?sv=2024&sig=sIgN"}))
    assert list(module._secrets({"tenant_id": "tenant", "token": {"type": "service_account", "keys": [SECRET]}})) == [
        SECRET
    ]


def test_references() -> None:
    plain = Datastore(name="plain", url="/data")
    assert (plain.reference(), plain.reference("a/b c"), plain.reference("/a")) == ("/data", "/data/a/b c", "/data/a")
    bucket = Datastore(name="bucket", url="s3://b/root")
    assert (bucket.reference(), bucket.reference("a/")) == ("s3://b/root", "s3://b/root/a/")
    secret = parsed(type="s3", bucket="b", credentials=S3_KEYS)
    assert secret.reference("a/#1") == "azureml://datastores/store/paths/a/#1"
    assert parsed(type="s3", bucket="b", anonymous=True).reference() == "azureml://datastores/store/paths/"
    with pytest.raises(InvalidDocument, match="leaves its datastore"):
        plain.reference("../x")


def test_a_plain_reference_needs_no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(store, "api", lambda: pytest.fail("asked the server"))
    assert open_folder(str(tmp_path)).path == str(tmp_path)
    assert open_folder("memory://a/b").url == "memory://a/b"
    with pytest.raises(InvalidDocument, match="is a data asset, not a place"):
        open_folder("azureml:heart@latest")


@pytest.mark.parametrize(
    ("url", "root", "path"),
    [
        ("s3://b/x/y", "s3://b", "x/y"),
        ("s3://b/x/y", "s3://b/x/", "y"),
        ("s3://b/x/", "s3://b/x", ""),
        ("s3://b", "s3://b", ""),
        ("s3://bb/x", "s3://b", None),
        ("s3://b/xy", "s3://b/x", None),
        ("gs://b/x", "s3://b", None),
        ("/data/x", "/data", "x"),
        ("/data/x", "/", "data/x"),
        ("/database", "/data", None),
        ("/data/x", "s3://data", None),
        ("abfss://box@acc.dfs.core.windows.net/a", "abfss://box@acc.dfs.core.windows.net", "a"),
        ("abfss://box@other.dfs.core.windows.net/a", "abfss://box@acc.dfs.core.windows.net", None),
    ],
)
def test_what_lies_below_a_root(url: str, root: str, path: str | None) -> None:
    assert module.below(url, root) == path


def test_links_do_not_hide_what_lies_below(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert module.below(str(tmp_path / "link" / "x"), str(tmp_path / "real")) == "x"
    assert module.below(str(tmp_path / "real" / "x"), str(tmp_path / "link")) == "x"
    assert module.below(str(tmp_path / "link" / "x"), str(tmp_path)) == "link/x"
