"""Jobs on real storage: the same bytes wherever data lies, faults of a store, large files, and no secret anywhere."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from endpoints import Ended, Endpoints
from prefect.client.orchestration import get_client

from prefect_batch.blocks import datastore as datastores
from prefect_batch.blocks.data_asset import parse_data_asset
from prefect_batch.blocks.datastore_file import parse_datastore
from prefect_batch.blocks.versions import create_version
from prefect_batch.flows import packing
from prefect_batch.flows.locations import locate

Store = Callable[..., Any]


def register(name: str, place: Any, **more: Any) -> str:
    """Make a datastore of a bucket or container, or of a local folder."""
    if isinstance(place, Path):
        data: dict[str, Any] = {"type": "local", "path": str(place)}
    elif hasattr(place, "bucket"):
        data = {"type": "s3", "bucket": place.bucket, "endpoint_url": place.endpoint_url}
        data["credentials"] = {
            "access_key_id": place.options["key"],
            "secret_access_key": place.options["secret"],
        }
    else:
        data = {"type": "azure_blob", "account_name": place.account, "container_name": place.container}
        data["credentials"] = {"connection_string": place.connection_string}
    with get_client(sync_client=True) as client:
        datastores.create_datastore(client, parse_datastore({"name": name, **data, **more}, name, Path()))
    return name


@contextlib.contextmanager
def as_default(name: str) -> Iterator[None]:
    with get_client(sync_client=True) as client:
        datastores.set_default(client, name)
    try:
        yield
    finally:
        with get_client(sync_client=True) as client:
            datastores.set_default(client, "default")


def upload(place: Any, source: Path, under: str = "in") -> None:
    if hasattr(place, "folder"):
        for path in source.iterdir():
            (place.folder / under).mkdir(exist_ok=True)
            (place.folder / under / path.name).write_bytes(path.read_bytes())
        return
    root = place.url.split("://")[1]
    for path in source.iterdir():
        place.fs.pipe_file(f"{root}/{under}/{path.name}", path.read_bytes())


def content(place: Any, path: str) -> bytes:
    return place.fs.cat_file(f"{place.url.split('://')[1]}/{path}")


def names_in(place: Any, path: str) -> list[str]:
    place.fs.invalidate_cache()
    return sorted(name.rsplit("/", 1)[-1] for name in place.fs.find(f"{place.url.split('://')[1]}/{path}"))


@pytest.fixture(scope="module")
def cancer(endpoints: Endpoints, cancer_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An endpoint that many tests share."""
    path = tmp_path_factory.mktemp("anywhere") / "deployment.yml"
    path.write_text(
        f"name: model\nendpoint_name: anywhere\ntype: model\nmodel: {cancer_model}\n"
        "settings: {mini_batch_size: 2, max_concurrency_per_instance: 2}\n"
    )
    endpoints.deploy(path, "anywhere")
    return "anywhere"


@pytest.fixture(scope="module")
def predictions(endpoints: Endpoints, cancer: str, cancer_data: Path) -> bytes:
    """What the endpoint makes of the data on the local disk."""
    ended = endpoints.run(cancer, cancer_data)
    assert ended.state == "Completed", ended.message
    assert ended.predictions.count(b"\n") == 570
    return ended.predictions


@pytest.mark.parametrize("kind", ["s3", "azure_blobs", "http_files"])
def test_the_same_bytes_wherever_data_lies_and_goes(
    kind: str,
    request: pytest.FixtureRequest,
    endpoints: Endpoints,
    cancer: str,
    cancer_data: Path,
    predictions: bytes,
    tmp_path: Path,
) -> None:
    place: Any = request.getfixturevalue(kind)
    upload(place, cancer_data)
    if kind == "http_files":
        ended = endpoints.run(cancer, f"{place.url}/in/", outputs={"score": str(tmp_path / "out")})
        assert ended.state == "Completed", ended.message
        assert (tmp_path / "out" / "predictions.csv").read_bytes() == predictions
        assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "predictions.csv"]
        return
    store = register(f"d-{place.url.split('://')[1]}", place)
    output = {
        "s3": {"path": f"{place.url}/out", "type": "uri_folder"},
        "azure_blobs": f"azureml://datastores/{store}/paths/out/",
    }[kind]
    ended = endpoints.run(cancer, f"{store}:in/*.csv", outputs={"score": output})
    assert ended.state == "Completed", ended.message
    assert content(place, "out/predictions.csv") == predictions
    assert names_in(place, "out") == ["predictions.csv"]
    assert ended.record["input"]["places"][0]["location"]["reference"] == f"azureml://datastores/{store}/paths/in"
    assert ended.record["output"]["reference"] == f"azureml://datastores/{store}/paths/out"


def test_a_job_whose_every_file_lies_in_a_bucket(
    endpoints: Endpoints,
    cancer: str,
    cancer_data: Path,
    predictions: bytes,
    s3: Any,
    cli: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """The default datastore is remote: the job's folder, uploaded data, the output; downloaded, and found later."""
    with as_default(register(f"s-{s3.bucket}", s3)):
        first = cli("invoke", cancer, "--input", cancer_data, "--stream")
        uploaded = names_in(s3, "uploads")
        assert [name for name in uploaded if name.endswith(".csv")] == sorted(p.name for p in cancer_data.iterdir())
        again = cli("invoke", cancer, "--input", cancer_data)
        assert names_in(s3, "uploads") == uploaded
        endpoints.wait(again.stdout.strip())
    job = first.stdout.strip()
    assert content(s3, f"azureml/{job}/score/predictions.csv") == predictions
    record = json.loads(content(s3, f"jobs/{job}/job.json"))
    assert record["input"]["places"][0]["location"]["url"].startswith(f"{s3.url}/uploads/")
    assert any(name.startswith("process") for name in names_in(s3, f"jobs/{job}/logs"))
    cli("job", "download", job, "--download-path", tmp_path / "down")
    assert (tmp_path / "down" / "named-outputs" / "score" / "predictions.csv").read_bytes() == predictions
    assert "Completed" in cli("job", "show", job).stdout


def test_data_assets_are_resolved_and_recorded(endpoints: Endpoints, cancer: str, cancer_data: Path, s3: Any) -> None:
    upload(s3, cancer_data, "v1")
    name, store = f"cancer-{s3.bucket}", register(f"s-{s3.bucket}", s3)
    with get_client(sync_client=True) as client:
        for _ in range(2):
            asset = parse_data_asset({"name": name, "path": f"{store}:v1"}, "test")
            reference = f"azureml://datastores/{store}/paths/v1"
            create_version(client, asset.model_copy(update={"reference": reference}))
        latest, second = f"azureml:{name}@latest", f"data:{name}:2"
        assert locate(latest, client).model_copy(update={"given": second}) == locate(second, client)
    ended = endpoints.run(cancer, latest)
    assert ended.state == "Completed", ended.message
    place = ended.record["input"]["places"][0]["location"]
    assert (place["given"], place["asset"], place["url"]) == (latest, f"{name}:2", f"{s3.url}/v1")
    missing = endpoints.run(cancer, f"azureml:{name}:3")
    assert missing.state == "Failed" and f"data asset {name!r} has no version '3': it has 1, 2" in missing.message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("azureml:nothing@latest", "data asset 'nothing' does not exist"),
        ("nowhere:in", "datastore 'nowhere' does not exist (there are: "),
        ("s3://no-such-bucket-there/in", "no-such-bucket-there"),
        ("https://user:hidden-word@host/x", "datastore"),
    ],
)
def test_what_cannot_be_resolved_is_refused_before_compute(
    endpoints: Endpoints, cancer: str, given: str, message: str, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in (
        ("AWS_ENDPOINT_URL", s3.endpoint_url),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "y"),
    ):
        monkeypatch.setenv(key, value)
    ended = endpoints.run(cancer, given)
    assert ended.state == "Failed" and message in ended.message and "hidden-word" not in ended.message
    assert "\n" not in ended.message and not ended.folder.exists()


def test_a_read_only_datastore_takes_no_output(endpoints: Endpoints, cancer: str, cancer_data: Path, s3: Any) -> None:
    store = register(f"s-{s3.bucket}", s3, read_only=True)
    for output in (f"{store}:out", f"{s3.url}/out"):
        ended = endpoints.run(cancer, cancer_data, outputs={"score": output})
        assert ended.state == "Failed" and "read_only" in ended.message
    assert names_in(s3, "") == []


@pytest.mark.parametrize("fault", [{"fail_every": 10}, {"cut_every": 7}, {"reset_every": 9}])
def test_a_store_with_faults(
    endpoints: Endpoints,
    cancer: str,
    cancer_data: Path,
    predictions: bytes,
    s3: Any,
    proxied: Callable[..., Any],
    fault: dict[str, int],
) -> None:
    upload(s3, cancer_data)
    proxy = proxied(s3.endpoint_url, **fault)
    store = register(f"s-{s3.bucket}", s3.through(proxy.url))
    ended = endpoints.run(cancer, f"{store}:in", outputs={"score": f"{store}:out"}, settings={"mini_batch_size": 1})
    assert ended.state == "Completed", ended.message
    assert sum(proxy.faults.values()) > 0
    assert ended.summary["succeeded"] == 6
    assert content(s3, "out/predictions.csv") == predictions
    assert names_in(s3, "out") == ["predictions.csv"]


def test_files_that_change_between_plan_and_read_are_those_files_errors(
    endpoints: Endpoints, cancer: str, cancer_data: Path, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One disappears, one is truncated."""
    upload(s3, cancer_data)
    plan_job, root = packing.plan_job, f"{s3.bucket}/in"

    def plan_and_spoil(*arguments: Any) -> Any:
        plan = plan_job(*arguments)
        s3.fs.rm_file(f"{root}/cancer-3.csv")
        s3.fs.pipe_file(f"{root}/cancer-4.csv", s3.fs.cat_file(f"{root}/cancer-4.csv")[:-100])
        return plan

    monkeypatch.setattr("prefect_batch.flows.endpoint.plan_job", plan_and_spoil)
    ended = endpoints.run(cancer, f"{register(f's-{s3.bucket}', s3)}:in")
    assert ended.state == "Completed", ended.message
    assert [(error["item"], error["error_type"]) for error in ended.errors] == [
        ("cancer-3.csv", "FileNotFoundError"),
        ("cancer-4.csv", "Unreadable"),
    ]
    assert ended.predictions.count(b"\n") == 570 - 150 - 110


def test_an_output_that_refuses_writes(
    endpoints: Endpoints, cancer: str, cancer_data: Path, s3: Any, proxied: Callable[..., Any]
) -> None:
    proxy = proxied(s3.endpoint_url, refuse_writes=True)
    store = register(f"s-{s3.bucket}", s3.through(proxy.url))
    ended = endpoints.run(cancer, cancer_data, outputs={"score": f"{store}:out"})
    assert ended.state == "Failed" and f"{s3.url}/out" in ended.message
    assert not (ended.folder / "plan.json").exists() and names_in(s3, "") == []


def test_an_output_that_refuses_writes_at_the_end_is_written_on_resume(
    endpoints: Endpoints,
    cancer: str,
    cancer_data: Path,
    predictions: bytes,
    s3: Any,
    proxied: Callable[..., Any],
    cli: Callable[..., Any],
) -> None:
    refused = {"refuse_writes": True, "match": lambda method, path: path.split("?")[0].endswith("/predictions.csv")}
    proxy = proxied(s3.endpoint_url, **refused)
    store = register(f"s-{s3.bucket}", s3.through(proxy.url))
    failed = endpoints.wait(endpoints.invoke(cancer, cancer_data, outputs={"score": f"{store}:out"}))
    assert failed.state == "Failed" and "predictions.csv" in failed.message and "\n" not in failed.message
    assert proxy.faults["refused"] > 0 and names_in(s3, "out") == []
    parts = sorted((failed.folder / "parts").rglob("*.part"))
    proxy.refuse_writes = False
    cli("job", "resume", failed.id)
    cli("job", "stream", failed.id)
    assert content(s3, "out/predictions.csv") == predictions
    assert sorted((failed.folder / "parts").rglob("*.part")) == parts  # nothing was scored again


def test_a_script_writes_files_of_its_own_to_a_bucket(
    endpoints: Endpoints, script_deployment: Callable[..., Path], s3: Any
) -> None:
    names = ["a/item.txt", "b/item.txt", "b/#1 100% [x] ü.txt", "c d.txt", "fails.txt"]
    for name in names:
        s3.fs.pipe_file(f"{s3.bucket}/in/{name}", name.encode())
    path = script_deployment(
        """
        out = Path(os.environ["AZUREML_BI_OUTPUT_PATH"])
        for item in mini_batch:
            text = Path(item).read_text()
            (out / text.replace("/", "-")).write_text(text.upper())
            if text == "fails.txt":
                raise ValueError("after it wrote")
        return mini_batch
        """,
        output_action="summary_only",
        mini_batch_size=1,
        max_concurrency_per_instance=2,
    )
    endpoints.deploy(path, "own-files")
    store = register(f"s-{s3.bucket}", s3)
    ended = endpoints.run("own-files", f"{store}:in", outputs={"score": f"{store}:out"})
    assert ended.state == "Completed", ended.message
    assert names_in(s3, "out") == sorted(name.replace("/", "-") for name in names[:-1])
    assert content(s3, "out/b-item.txt") == b"B/ITEM.TXT"
    assert [error["item"] for error in ended.errors] == ["fails.txt"]


BILLSUM = """
import pandas as pd
return pd.concat([pd.read_csv(path) for path in mini_batch])[["title"]].assign(files=len(mini_batch))
"""


def test_large_files_are_scored_in_pieces(
    endpoints: Endpoints, script_deployment: Callable[..., Path], billsum_data: Path, s3: Any
) -> None:
    """Fields with newlines and quotes; every row once, in order, with its origin, however the files are cut."""
    path = script_deployment(BILLSUM, output_columns="{input: [title], prediction: own}", mini_batch_size="'700 kB'")
    endpoints.deploy(path, "billsum")
    upload(s3, billsum_data)
    store = register(f"s-{s3.bucket}", s3)
    whole = pd.concat([pd.read_csv(path).assign(file=path.name) for path in sorted(billsum_data.iterdir())])

    def check(ended: Ended, least: int) -> bytes:
        assert ended.state == "Completed", ended.message
        assert ended.summary["mini_batches"] >= least
        frame = pd.read_csv(ended.output / "predictions.csv")
        assert list(frame["title"]) == list(frame["own_title"]) == list(whole["title"])
        assert list(frame["row"]) == list(whole.index) and list(frame["file_name"]) == list(whole["file"])
        return ended.predictions

    in_pieces = check(endpoints.run("billsum", billsum_data), 12)
    two = {"instance_count": 2, "mini_batch_size": "37 rows"}
    assert check(endpoints.run("billsum", f"{store}:in", settings=two), 20) == in_pieces
    as_files = endpoints.run("billsum", f"{store}:in", settings={"mini_batch_size": 4})
    assert check(as_files, 1).replace(b",4,", b",1,") == in_pieces


def test_compressed_files_are_read_in_a_stream(
    endpoints: Endpoints,
    cancer: str,
    cancer_data: Path,
    predictions: bytes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for path in cancer_data.iterdir():
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    ended = endpoints.run(cancer, tmp_path, settings={"mini_batch_size": "10 kB"})
    assert ended.state == "Completed", ended.message
    assert "stays in one mini-batch: gzip" in caplog.text
    assert ended.predictions.replace(b".csv.gz", b".csv") == predictions


def test_literal_inputs_reach_the_script(
    endpoints: Endpoints, script_deployment: Callable[..., Path], numbered_files: Callable[[int], Path]
) -> None:
    path = script_deployment(
        "return [factor * len(mini_batch)] * len(mini_batch)", endpoint="params", mini_batch_size=3
    )
    code = path.parent / "code" / "score.py"
    code.write_text(code.read_text().replace("def run(mini_batch):", "def run(mini_batch, factor: int = 1):"))
    endpoints.deploy(path, "params")
    data = str(numbered_files(3))
    ended = endpoints.call("params", inputs={"data": data, "params": {"factor": "7"}})
    assert ended.state == "Completed", ended.message
    assert ended.predictions.decode().split() == ["prediction", "21", "21", "21"]
    for wrong, message in (({"factr": 1}, "factr"), ({"factor": "much"}, "factor")):
        ended = endpoints.call("params", inputs={"data": data, "params": wrong})
        assert ended.state == "Failed" and message in ended.message and not ended.folder.exists()


def test_a_folder_of_parquet_files_and_a_compressed_file_in_a_bucket(
    endpoints: Endpoints, cancer: str, cancer_data: Path, s3: Any
) -> None:
    store, columns = register(f"s-{s3.bucket}", s3), {"input": ["mean radius"], "prediction": "score"}
    frames: list[pd.DataFrame] = []
    for name in ("", "all.csv.gz"):
        settings = {"output_file_name": name, "output_columns": columns}
        ended = endpoints.run(cancer, cancer_data, outputs={"score": f"{store}:out/{name}-"}, settings=settings)
        assert ended.state == "Completed", ended.message
        assert ended.summary["output"].startswith(f"{s3.url}/out/{name}-")
        options = {"storage_options": s3.options}
        if name:
            frames.append(pd.read_csv(ended.summary["output"], dtype={"mean radius": str}, **options))
        else:
            assert names_in(s3, "out/-") == ["_SUCCESS", "part-00000.parquet"]
            frames.append(pd.read_parquet(f"{s3.url}/out/-/part-00000.parquet", **options))
    assert list(frames[0].columns) == ["row", "mean radius", "score", "file_name"]
    pd.testing.assert_frame_equal(*frames, check_dtype=False)
    again = endpoints.run(cancer, cancer_data, outputs={"score": f"{store}:out/-"}, settings={"output_file_name": ""})
    assert again.state == "Failed" and "exists already" in again.message
