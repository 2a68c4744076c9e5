"""Every spelling of a place, and what is said about those that mean nothing here."""

from __future__ import annotations

import pytest

from prefect_batch.blocks.references import AssetReference, DatastorePath, LocalPath, Place, Url, parse
from prefect_batch.scoring.errors import InvalidDocument

WORKSPACE = "subscriptions/1a2b/resourceGroups/group/providers/Microsoft.MachineLearningServices/workspaces/space"
SHORT_WORKSPACE = "subscriptions/1a2b/resourcegroups/group/workspaces/space"
LOCATION = "azureml://locations/westeurope/workspaces/0f-9e"
LATEST = AssetReference("heart-data", None, "latest")
SECOND = AssetReference("heart-data", "2", None)
DATA = DatastorePath("store", "a/b")
BLOB = Url("abfss://box@account.dfs.core.windows.net/a/b c.csv")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("azureml:heart-data@latest", LATEST),
        ("azureml:/heart-data@latest", LATEST),
        ("AzureML:heart-data@Latest", LATEST),
        ("azureml:heart-data:2", SECOND),
        ("azureml:/heart-data:2", SECOND),
        ("azureml:heart_data.v1:2024-01-01", AssetReference("heart_data.v1", "2024-01-01", None)),
        ("data:heart-data@latest", LATEST),
        ("data:heart-data:2", SECOND),
        (f"/{WORKSPACE}/data/heart-data/versions/2", SECOND),
        (f"/{WORKSPACE.lower()}/data/heart-data/versions/2", SECOND),
        (f"azureml:/{WORKSPACE}/data/heart-data/versions/2", SECOND),
        (f"azureml://{SHORT_WORKSPACE}/data/heart-data/versions/2", SECOND),
        (f"/{WORKSPACE}/data/heart-data/versions/labels/latest", LATEST),
        (f"/{WORKSPACE}/data/heart-data/labels/latest", LATEST),
        (f"{LOCATION}/data/heart-data/versions/2", SECOND),
        (f"{LOCATION}/data/heart-data/versions/labels/latest", LATEST),
        (f"{LOCATION}/data/heart-data/labels/latest", LATEST),
        ("azureml://datastores/store/paths/a/b", DATA),
        ("AZUREML://Datastores/Store/Paths/a/b", DATA),
        ("azureml://datastores/store/paths//a/b", DATA),
        (f"azureml://{SHORT_WORKSPACE}/datastores/store/paths/a/b", DATA),
        (f"azureml://{WORKSPACE}/datastores/store/paths/a/b", DATA),
        (f"azureml:/{WORKSPACE}/datastores/store/paths/a/b", DATA),
        (f"/{WORKSPACE}/datastores/store/paths/a/b", DATA),
        (f"{LOCATION}/datastores/store/paths/a/b", DATA),
        ("azureml://datastores/store", DatastorePath("store", "")),
        ("azureml://datastores/store/", DatastorePath("store", "")),
        ("azureml://datastores/store/paths", DatastorePath("store", "")),
        ("azureml://datastores/store/paths/", DatastorePath("store", "")),
        (f"/{WORKSPACE}/datastores/store", DatastorePath("store", "")),
        ("azureml://datastores/store/paths/a/", DatastorePath("store", "a/")),
        ("azureml://datastores/my_store/paths/a b/#1 %20[x]?.csv", DatastorePath("my_store", "a b/#1 %20[x]?.csv")),
        ("azureml://datastores/store/paths/**/*.csv", DatastorePath("store", "**/*.csv")),
        ("azureml://datastores/store/paths/données/資料", DatastorePath("store", "données/資料")),
        ("store:a/b", DATA),
        ("Store:/a/b", DATA),
        ("store:", DatastorePath("store", "")),
        ("my-store_2:*.csv", DatastorePath("my-store_2", "*.csv")),
        ("s3://bucket/a/*.csv", Url("s3://bucket/a/*.csv")),
        ("S3://Bucket/A b#1 %20?", Url("s3://Bucket/A b#1 %20?")),
        ("s3a://bucket/a", Url("s3://bucket/a")),
        ("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/a", None),
        ("gs://bucket/a", Url("gs://bucket/a")),
        ("gcs://bucket/a", Url("gs://bucket/a")),
        ("abfs://box/a", Url("abfs://box/a")),
        ("az://box/a", Url("az://box/a")),
        ("adl://account/a", Url("adl://account/a")),
        ("abfs://box@account.dfs.core.windows.net/a/b c.csv", BLOB),
        ("abfss://box@account.dfs.core.windows.net/a/b c.csv", BLOB),
        ("ABFSS://box@Account.DFS.core.windows.net/a/b c.csv", BLOB),
        ("wasb://box@account.blob.core.windows.net/a/b c.csv", BLOB),
        ("wasbs://box@account.blob.core.windows.net/a/b c.csv", BLOB),
        ("https://account.blob.core.windows.net/box/a/b%20c.csv", BLOB),
        ("https://account.dfs.core.windows.net/box/a/b c.csv", BLOB),
        ("https://Account.Blob.Core.Windows.Net/box/a/b%20c.csv", BLOB),
        ("https://account.blob.core.windows.net/box", Url("abfss://box@account.dfs.core.windows.net/")),
        ("https://account.blob.core.windows.net/box/a?versionid=2", None),
        ("https://account.blob.core.chinacloudapi.cn/box/a", Url("abfss://box@account.dfs.core.chinacloudapi.cn/a")),
        ("https://example.org/a/b.csv?page=2", None),
        ("http://127.0.0.1:8080/a/", None),
        ("http://[::1]:8080/a/", None),
        ("sftp://user@host:2222/a", None),
        ("hdfs://host:8020/a", None),
        ("memory://a", None),
        ("file:///a/b c", LocalPath("/a/b c")),
        ("file://localhost/a", LocalPath("/a")),
        ("file:/a", LocalPath("/a")),
        ("local:///a", LocalPath("/a")),
        ("/a/b", LocalPath("/a/b")),
        ("/a/b:c@d", LocalPath("/a/b:c@d")),
        ("a/b", LocalPath("a/b")),
        ("a/b:c", LocalPath("a/b:c")),
        ("./a:b", LocalPath("./a:b")),
        ("a.b:c", LocalPath("a.b:c")),
        ("name@latest", LocalPath("name@latest")),
        ("~/data", LocalPath("~/data")),
        ("data/*.csv", LocalPath("data/*.csv")),
        (" a ", LocalPath(" a ")),
        ("subscriptions/x", LocalPath("subscriptions/x")),
    ],
)
def test_spellings(given: str, meant: Place | None) -> None:
    assert parse(given) == (meant or Url(given))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "names no data: give azureml:<asset>@latest"),
        ("  ", "names no data"),
        ("a\0b", "names no data"),
        ("azureml:heart", "names no version: write azureml:heart@latest or azureml:heart:<version>"),
        ("azureml:", "is not understood: give azureml:<asset>@latest"),
        ("azureml://heart@latest", "is not understood"),
        ("azureml:a/b:1", "is not understood"),
        ("azureml:a b:1", "is not understood"),
        ("azureml://datastores/", "is not understood"),
        ("azureml://datastores/store/a", "is not understood"),
        ("data:heart", "names no version of a data asset: write data:<name>@latest"),
        (f"/{WORKSPACE}", "is not understood"),
        (f"/{WORKSPACE}/data/heart", "is not understood"),
        ("/subscriptions/x/y", "is not understood"),
        ("http://[::simplecache::file:]:80/etc/passwd", "no IPv6 address"),
        ("azureml://registries/azureml/data/heart/versions/1", "is in a registry, which is not supported"),
        ("azureml://registries/azureml/models/heart/versions/1", "is in a registry"),
        (f"/{WORKSPACE}/models/heart/versions/1", "is a model, not data"),
        (f"{LOCATION}/models/heart/versions/1", "is a model, not data"),
        ("models:/heart/1", "is a model, not data"),
        ("runs:/0a1b/model", "is a model, not data"),
        ("azureml://datastores/store/paths/a/../../b", "leaves its datastore: write the path without"),
        ("store:..", "leaves its datastore"),
        ("nothing://a", "nothing:// is not a protocol that fsspec knows"),
        ("s3:/bucket/a", "is not a URL: write s3:// with two slashes"),
        ("C:\\data", "is a Windows path"),
        ("c:/data", "is a Windows path"),
        ("\\\\server\\share", "is a Windows path"),
        ("https://account.blob.core.windows.net/", "names no container"),
        ("abfss://account.dfs.core.windows.net/a", "names no container"),
        ("wasbs://box/a", "write wasbs://<container>@<account>"),
    ],
)
def test_refused(given: str, said: str) -> None:
    with pytest.raises(InvalidDocument) as raised:
        parse(given)
    message = str(raised.value)
    assert said in message and repr(given) in message and "\n" not in message


@pytest.mark.parametrize(
    "given",
    [
        "s3://AKIA:SeCrEt@bucket/a",
        "s3://AKIA:Se/CrEt+SeCrEt@bucket/a",
        "s3://AKIA:12/SeCrEt@bucket/a",
        "https://user:SeCrEt@example.org/a",
        "https://SeCrEt@example.org/a",
        "sftp://user:SeCrEt@host:22/a",
        "abfss://box:SeCrEt@account.dfs.core.windows.net/a",
        "nothing://user:SeCrEt@host",
        "https://account.blob.core.windows.net/box/a?sv=2024&sig=SeCrEt%3D",
        "https://account.blob.core.windows.net/box/a?SIG=SeCrEt",
        "abfss://box@account.dfs.core.windows.net/a?sig=SeCrEt",
        "wasbs://box@account.blob.core.windows.net/a?sv=1&sig=SeCrEt",
        "https://bucket.s3.amazonaws.com/a?X-Amz-Credential=x&X-Amz-Signature=SeCrEt",
        "https://bucket.s3.amazonaws.com/a?AWSAccessKeyId=SeCrEt&Expires=1",
        "https://storage.googleapis.com/b/a?X-Goog-Signature=SeCrEt",
        "https://example.org/a?token=SeCrEt",
        "https:/account.blob.core.windows.net/box/a?sig=SeCrEt",
        "azureml:https://account.blob.core.windows.net/box/a?sig=SeCrEt",
    ],
)
def test_a_credential_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(InvalidDocument, match="make a datastore") as raised:
        parse(given)
    assert "SeCrEt" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("given", ["zip://a.csv::s3://bucket/a.zip", "simplecache::s3://KEY:SeCrEt@bucket/a"])
def test_chained_protocols_are_refused(given: str) -> None:
    with pytest.raises(InvalidDocument) as raised:
        parse(given)
    assert "SeCrEt" not in str(raised.value)


@pytest.mark.parametrize("path", ["", "a/b", "a/", "a b/#1 %20[x]?*.csv", "a:b@c", "données/資料"])
def test_a_reference_reads_back(path: str) -> None:
    place = DatastorePath("my_store", path)
    assert parse(place.reference) == place
