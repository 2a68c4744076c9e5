"""A datastore's credential is in its block and in the memory of whoever opened it, and nowhere else.

The credentials of the storage servers are planted; the tests search all that a job, a command or a failure leaves.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import html
import logging
import os
import pickle
import socket
import sqlite3
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import uuid4

import cloudpickle
import distributed.comm.tcp
import distributed.protocol.pickle
import httpx
import pytest
from endpoints import Endpoints
from prefect.blocks.fields import SecretDict
from prefect.client.orchestration import get_client
from storage_servers import AZURE_KEY, S3_KEY, S3_SECRET, AzureContainer, S3Bucket

from prefect_batch.blocks import store
from prefect_batch.blocks.datastore import Datastore, create_datastore, find_datastore, open_folder
from prefect_batch.blocks.datastore_file import parse_datastore
from prefect_batch.flows.job import Job
from prefect_batch.flows.locations import locate
from prefect_batch.interfaces.cli import main
from prefect_batch.interfaces.local_server import LocalServer
from prefect_batch.scoring import retries
from prefect_batch.scoring.errors import BatchError
from prefect_batch.scoring.storage_errors import Redaction, translate

from .test_data import as_default, register, upload

SESSION = Path(os.environ["PREFECT_HOME"]).parent
PLANTED = (S3_KEY, S3_SECRET, AZURE_KEY)
PASSWORD, TOKEN = "planted-password-of-a-url", "planted/token+of=a session&no.7"
WRONG_KEY = base64.b64encode(b"planted-wrong-key-of-azure".ljust(64)).decode()
BEGINNING = 18
"""Characters of a secret that must not show: half of one helps to guess the rest."""

SPY = """
import os, sys
from pathlib import Path


def init():
    pass


def run(mini_batch):
    own = Path("/proc/self")
    print("script: environment", dict(os.environ), "command", sys.argv)
    for name in ("environ", "cmdline") if own.is_dir() else ():
        print("script:", name, (own / name).read_bytes())
    if any("item-00001" in item for item in mini_batch):
        raise ValueError(f"script: with {dict(os.environ)}")
    return [str(dict(os.environ))] * len(mini_batch)
"""


def forms(secret: str) -> set[bytes]:
    """How a secret may be written: plain, quoted, escaped, and within base64 at each of its three alignments."""
    start = secret[:BEGINNING]
    texts = {start, quote(start), quote(start, safe=""), quote_plus(start), html.escape(start), repr(start)[1:-1]}
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            texts.add(encode(b"x" * shift + start.encode())[4 if shift else 0 : -4].decode())
    return {text.encode() for text in texts} | {start.encode("utf-16-le"), start.encode().hex().encode()}


def showing(places: Mapping[str, bytes | str], secrets: Iterable[str] = PLANTED) -> list[str]:
    """The places in which a form of a secret is found."""
    wanted = {form: secret for secret in secrets for form in forms(secret)}
    contents = {name: held.encode() if isinstance(held, str) else held for name, held in places.items()}
    return [f"{name}: {form!r}" for name, held in contents.items() for form in wanted if form in held]


def test_every_form_of_a_secret_is_found() -> None:
    basic = base64.b64encode(f"user:{S3_SECRET}".encode())
    key_in_key = base64.b64encode(f"AccountKey={AZURE_KEY};".encode())
    for written in (basic, key_in_key, f"x{AZURE_KEY}x", S3_SECRET[:20], quote(S3_SECRET), pickle.dumps([S3_SECRET])):
        assert showing({"place": written})
    assert showing({"place": html.escape(TOKEN)}, [TOKEN]) and showing({"place": quote_plus(TOKEN)}, [TOKEN])
    assert not showing({"place": "planted"})


def changed_files(folders: Iterable[Path], since: float) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for folder in folders:
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):  # gone meanwhile
                if path.is_file() and path.stat().st_mtime >= since:
                    found[str(path)] = path.read_bytes()
    return found


def objects(place: Any) -> dict[str, bytes]:
    place.fs.invalidate_cache()
    root = place.url.split("://")[1]
    return {f"{place.url}: {path}": place.fs.cat_file(path) for path in place.fs.find(root)}


def database() -> dict[str, str]:
    """Every table of the server, as it is stored."""
    uri = f"file:{os.environ['PREFECT_HOME']}/prefect.db?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30)) as held:
        tables = [name for (name,) in held.execute("select name from sqlite_master where type = 'table'")]
        return {f"table {name}": repr(held.execute(f'select * from "{name}"').fetchall()) for name in tables}


class Api:
    """The server's answers, as anyone gets them who can reach it."""

    def __init__(self) -> None:
        self._client = httpx.Client(base_url=os.environ["PREFECT_API_URL"], timeout=60)

    def get(self, path: str) -> str:
        return self._client.get(path).raise_for_status().text

    def all(self, what: str, **wanted: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while page := self._page(what, {**wanted, "limit": 200, "offset": len(found)}):
            found += page
        return found

    def _page(self, what: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        return self._client.post(f"/{what}/filter", json=wanted).raise_for_status().json()

    def events(self) -> str:
        answer = self._client.post("/events/filter", json={"limit": 50}).raise_for_status()
        texts = [answer.text]
        while (following := answer.json()["next_page"]) is not None:
            answer = self._client.get(following).raise_for_status()
            texts.append(answer.text)
        return "".join(texts)

    def of_job(self, job: str, said: tuple[str, ...]) -> dict[str, str]:
        """All that is kept of a job, once its task runs have ended and its log has these texts."""
        runs = self.all("flow_runs", flow_runs={"id": {"any_": [job]}})
        runs += self.all("flow_runs", flow_runs={"parent_flow_run_id": {"any_": [job]}})
        ids = {"any_": [run["id"] for run in runs]}
        deadline = time.monotonic() + 60
        while True:
            tasks = self.all("task_runs", flow_runs={"id": ids})
            logs = str(self.all("logs", logs={"flow_run_id": ids}))
            ended = all(task["state"]["type"] in ("COMPLETED", "FAILED") for task in tasks)
            if ended and len(tasks) > 1 and all(text in logs for text in said):
                break
            assert time.monotonic() < deadline, f"{len(tasks)} task runs; log: {logs}"
            time.sleep(0.2)
        states = [self.get(f"/flow_run_states/?flow_run_id={run['id']}") for run in runs]
        states += [self.get(f"/task_run_states/?task_run_id={task['id']}") for task in tasks]
        artifacts = self.all("artifacts", artifacts={"flow_run_id": ids})
        assert len(runs) == 2 and artifacts and all(task["task_inputs"] for task in tasks)
        kept = {"flow runs": runs, "task runs": tasks, "states": states, "artifacts": artifacts, "logs": logs}
        return {name: str(value) for name, value in kept.items()}

    def of_server(self, datastore: str) -> dict[str, str]:
        """What is not a job's own; the datastore must be found in it."""
        kinds = ("block_documents", "block_schemas", "block_types", "variables", "automations", "deployments")
        kept = {name: str(self.all(name)) for name in (*kinds, "work_pools", "flows")} | {"events": self.events()}
        kept["by name"] = self.get(f"/block_types/slug/batch-datastore/block_documents/name/{datastore}")
        kept["by type"] = self.get("/block_types/slug/batch-datastore/block_documents")
        for name in ("block_documents", "by name", "by type"):
            assert datastore in kept[name] and "credentials" in kept[name]
        return kept


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.INFO)
    for name in ("prefect_batch", "prefect.flow_runs", "prefect.task_runs"):
        caplog.set_level(logging.DEBUG, name)
    yield caplog


def record_wire(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """All that this process, where Dask's scheduler runs too, sends to Dask's workers and gets from them."""
    recorded: list[bytes] = []
    to_frames, from_frames = distributed.comm.tcp.to_frames, distributed.comm.tcp.from_frames

    async def sending(*arguments: Any, **more: Any) -> Any:
        frames = await to_frames(*arguments, **more)
        recorded.extend(map(bytes, frames))
        return frames

    async def receiving(frames: Any, **more: Any) -> Any:
        recorded.extend(map(bytes, frames))
        return await from_frames(frames, **more)

    monkeypatch.setattr(distributed.comm.tcp, "to_frames", sending)
    monkeypatch.setattr(distributed.comm.tcp, "from_frames", receiving)
    return recorded


@pytest.fixture(scope="module")
def spying(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An endpoint whose script prints and returns its environment, and what else a process knows of itself."""
    folder = tmp_path_factory.mktemp("spying")
    (folder / "code").mkdir()
    (folder / "code" / "score.py").write_text(SPY)
    (folder / "deployment.yml").write_text(
        "name: spying\nendpoint_name: spying\ntype: model\n"
        "code_configuration: {code: code, scoring_script: score.py}\n"
        "settings: {mini_batch_size: 1, logging_level: DEBUG, retry_settings: {max_retries: 1}}\n"
    )
    endpoints.deploy(folder / "deployment.yml", "spying")
    return "spying"


def test_a_job_leaves_no_secret(
    endpoints: Endpoints,
    spying: str,
    numbered_files: Callable[[int], Path],
    s3: S3Bucket,
    azure_blobs: AzureContainer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    everything_logged: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Input and all files of the job on S3, output on Azure: what is kept, logged, printed, and sent to Dask."""
    since = time.time()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    upload(s3, numbered_files(3))
    bucket, blobs = register(f"s-{s3.bucket}", s3), register(f"a-{azure_blobs.container}", azure_blobs)
    recorded = record_wire(monkeypatch)
    with as_default(bucket):
        ended = endpoints.run(spying, f"{bucket}:in", outputs={"score": f"{blobs}:out"})
        api = Api()
        kept = {**api.of_job(ended.id, ("script: environment", " scores s3://")), **api.of_server(bucket)}
    assert ended.state == "Completed", ended.message
    root = f"azureml://datastores/{bucket}/paths/jobs/{ended.id}"
    assert root in kept["flow runs"] and "job_folder" in kept["task runs"]

    sent = b"\n".join(recorded)
    assert root.encode() in sent
    files = {**objects(s3), **objects(azure_blobs)}
    log = next(content for name, content in files.items() if f"jobs/{ended.id}/logs/" in name)
    assert b"script: environment" in log and b"PREFECT_API_URL" in log
    for name in ("job.json", "plan.json", "errors.jsonl", "summary.json", "out/predictions.csv"):
        assert any(path.endswith(name) for path in files), name
    printed = capfd.readouterr()
    places = {**kept, **files, **database(), **changed_files([SESSION, tmp_path], since)}
    places |= {"dask": sent, "stdout": printed.out, "stderr": printed.err, "logging": everything_logged.text}
    assert "script: environment" in printed.err and str(SESSION / "prefect/prefect.db") in places
    assert showing(places) == []

    job = Job.load(open_folder(root))
    assert job.output_folder.exists("predictions.csv") and job.folder.exists("job.json")
    assert showing({"job": f"{job!r} {job} {vars(job)} {job.model_dump_json()}"}) == []


def test_commands_show_no_secret(
    server: LocalServer,
    spying: str,
    numbered_files: Callable[[int], Path],
    s3: S3Bucket,
    azure_blobs: AzureContainer,
    cli: Callable[..., Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Datastores made by a file, the job by the worker, everything shown by commands."""
    since, bucket, blobs = time.time(), f"s-{s3.bucket}", f"a-{azure_blobs.container}"
    capfd.readouterr()

    def show(*arguments: str | Path) -> str:
        with contextlib.suppress(SystemExit):
            main([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        assert "Error" not in printed.err
        return printed.out + printed.err

    # Not below tmp_path, which is searched.
    with tempfile.TemporaryDirectory() as held:
        path = Path(held) / "store.yml"
        path.write_text(
            f"type: s3\nname: {bucket}\nbucket: {s3.bucket}\nendpoint_url: {s3.endpoint_url}\n"
            f"credentials: {{access_key_id: {S3_KEY}, secret_access_key: {S3_SECRET}}}\n"
        )
        shown = {"create": show("datastore", "create", "-f", path)}
    register(blobs, azure_blobs)
    with as_default(bucket):
        invoked = cli("invoke", spying, "--input", numbered_files(3), "--output-path", f"{blobs}:out", "--stream")
        job = invoked.stdout.strip()
        shown |= {name: show("datastore", "show", name) for name in (bucket, blobs)}
        shown |= {"job": show("job", "show", job), "jobs": show("job", "list")}
        shown |= {"files": show("job", "download", job, "--download-path", tmp_path / "down")}
        shown |= {"datastores": show("datastore", "list")}
        shown |= {"asset made": show("data", "create", "--name", bucket, "--path", f"{blobs}:out")}
        shown |= {"asset": show("data", "show", bucket), "assets": show("data", "list")}
        kept = Api().of_job(job, ("script: environment", " scores s3://"))
    for name, text in shown.items():
        assert any(known in text for known in (s3.bucket, azure_blobs.container, str(tmp_path), job)), name
    shown["invoke"] = invoked.stdout + invoked.stderr
    files = {**objects(s3), **objects(azure_blobs), **changed_files([SESSION, tmp_path], since)}
    assert "script: environment" in files[str(SESSION / "server.log")].decode()
    assert showing({**shown, **kept, **files, **database()}) == []


class Echo(BaseHTTPRequestHandler):
    """A storage that repeats in its errors what it was asked with."""

    protocol_version = "HTTP/1.1"  # which lets a client ask first whether it may send its data

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = " ".join([self.path, *(f"{name}: {value}" for name, value in self.headers.items())])
        body = f"<Error><Code>Odd</Code><Message>You sent {html.escape(asked)}</Message></Error>".encode()
        self.send_response(400, f"You sent {self.headers.get('Authorization', '').removeprefix('Bearer ')}")
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-ms-error-code", "Odd")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """The URL of a server that refuses everything and repeats it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def nobody() -> Iterator[str]:
    """A URL at which nobody listens: the port is taken, and refuses."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def s3_at(endpoint_url: str, bucket: str = "some-bucket") -> dict[str, Any]:
    keys = {"access_key_id": S3_KEY, "secret_access_key": S3_SECRET, "session_token": TOKEN}
    return {"type": "s3", "bucket": bucket, "endpoint_url": endpoint_url, "credentials": keys}


def azure_with(**credentials: str) -> dict[str, Any]:
    return {"type": "azure_blob", "account_name": "x", "container_name": "some-bucket", "credentials": credentials}


def connection(endpoint_url: str, secret: str) -> dict[str, Any]:
    text = f"DefaultEndpointsProtocol=http;AccountName=x;{secret};BlobEndpoint={endpoint_url}/x;"
    return azure_with(connection_string=text)


FAILURES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "wrong key": lambda at: {
        **connection(at.azure.endpoint_url, f"AccountKey={WRONG_KEY}"),
        "credentials": {"connection_string": at.azure.connection_string.replace(AZURE_KEY, WRONG_KEY)},
        "container_name": at.azure.container,
    },
    "missing bucket": lambda at: s3_at(at.s3.endpoint_url, "no-such-bucket"),
    "unreachable S3": lambda at: s3_at(at.nobody),
    "unreachable Azure": lambda at: connection(at.nobody, f"AccountKey={AZURE_KEY}"),
    "echo of S3": lambda at: s3_at(at.echo),
    "echo of an account key": lambda at: connection(at.echo, f"AccountKey={AZURE_KEY}"),
    "echo of a shared access signature": lambda at: connection(
        at.echo, f"SharedAccessSignature=sv=2024-01-01&sig={quote(TOKEN, safe='')}"
    ),
    "echo of a header": lambda at: {
        "type": "url",
        "url": f"{at.echo}/data",
        "credentials": {"headers": {"Authorization": f"Bearer {TOKEN}"}},
    },
    "malformed connection string": lambda at: azure_with(connection_string=f"AccountKey:{AZURE_KEY}"),
    "no key in the connection string": lambda at: azure_with(connection_string=f"AccountName=x;Key={AZURE_KEY}"),
    "malformed key": lambda at: connection(at.nobody, "AccountKey=planted-malformed-key-of-azure"),
}


def tracebacks_of(name: str) -> dict[str, str]:
    """What operations on a datastore raise, with the variables of every frame below this one."""
    calls: dict[str, tuple[Any, ...]] = {"read": ("x",), "stat": ("x",), "names": ()}
    calls |= {"fetch": (["x"], [SESSION / "x"]), "upload": (Path(__file__), "x")}
    found: dict[str, str] = {}
    for what, arguments in calls.items():
        try:
            result: Any = getattr(open_folder(f"azureml://datastores/{name}/paths/in"), what)(*arguments)
            if what == "fetch":
                raise result[0]
        except (BatchError, OSError) as error:
            captured = traceback.TracebackException.from_exception(error, capture_locals=True)
            found[what] = f"{error!r} {error} {traceback.format_exc()} {''.join(captured.format())}"
    return found


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_storage_shows_no_secret(
    failure: str,
    endpoints: Endpoints,
    spying: str,
    s3: S3Bucket,
    azure_blobs: AzureContainer,
    echo: str,
    nobody: str,
    monkeypatch: pytest.MonkeyPatch,
    everything_logged: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(retries, "ATTEMPTS", 1)
    given = FAILURES[failure](SimpleNamespace(s3=s3, azure=azure_blobs, echo=echo, nobody=nobody))
    # Each case has a datastore of its own: a name means one place for ever.
    name = f"f-{s3.bucket}"
    with get_client(sync_client=True) as client:
        create_datastore(client, parse_datastore({"name": name, **given}, name, Path()))
    ended = endpoints.run(spying, f"{name}:in", outputs={"score": f"{name}:out"})
    assert ended.state == "Failed" and "\n" not in ended.message
    tracebacks = tracebacks_of(name)
    assert len(tracebacks) >= 4
    printed = capfd.readouterr()
    places = {**tracebacks, "message": ended.message, "stdout": printed.out, "stderr": printed.err}
    places |= {"logging": everything_logged.text, "runs": str(Api().all("flow_runs", sort="START_TIME_DESC", limit=1))}
    secrets = (*PLANTED, TOKEN, WRONG_KEY, "planted-malformed-key")
    assert showing(places, secrets) == []


@pytest.mark.parametrize("kind", ["s3", "azure_blobs"])
def test_an_open_folder_neither_travels_nor_shows_its_credentials(
    kind: str, request: pytest.FixtureRequest, server: LocalServer
) -> None:
    place: Any = request.getfixturevalue(kind)
    name = register(f"p-{place.url.split('://')[1]}", place)
    with get_client(sync_client=True) as client:
        location, datastore = locate(f"{name}:in", client), find_datastore(client, name)
    folder = location.open()
    folder.create("a", b"a")
    for copied in (pickle.dumps, cloudpickle.dumps, distributed.protocol.pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled") as raised:
            copied({"options": [folder]})["options"].append(copy.copy(folder))
        assert showing({"message": str(raised.value)}) == []
    sent = pickle.dumps((location, location.reference))
    opened = {"folder": [folder, folder / "x", vars(folder), folder.fs._fs_token], "sent": [sent, location]}
    opened |= {"block": [datastore, datastore.model_dump(), datastore.model_dump_json(), datastore.credential_names()]}
    for what, values in opened.items():
        assert showing({what: "".join(f"{value!r} {value}" for value in values)}) == []


def test_a_secret_is_not_cut_in_half() -> None:
    """A long message is cut, one of several lines shows its first: the secret is taken out before."""
    lines = "planted-first-line-of-a-key\nand-its-second"
    redact = Redaction([S3_SECRET, TOKEN, lines])
    forms_of_token = f"{quote_plus(TOKEN)} {html.escape(TOKEN)} {quote(TOKEN)}"
    for said in (f"{'x' * 275} {S3_SECRET}", f"You sent {lines}", f"You sent {lines!r}", forms_of_token):
        for error in (ValueError(said), OSError(5, said)):
            for status in (400, 403):
                failed = translate(with_status(error, status), "read", "s3://bucket/x", redact)
                assert showing({"message": str(failed)}, [S3_SECRET, TOKEN, lines]) == [], said


def with_status(error: Exception, status: int) -> Exception:
    error.status = status  # type: ignore[attr-defined]
    return error


def test_a_stored_datastore_that_is_not_valid_shows_no_secret(server: LocalServer) -> None:
    """As another version, or a hand at the API, may have saved it."""
    name = f"broken-{uuid4().hex[:8]}"
    with get_client(sync_client=True) as client:
        create_datastore(client, Datastore(name=name, url="s3://b", credentials=SecretDict({"secret": S3_SECRET})))
        for data in ({"url": 7}, {"credentials": S3_SECRET}, {"credentials": [S3_SECRET]}, {"tags": S3_SECRET[:4]}):
            store.patch(Datastore, name, data, client)
            with pytest.raises(BatchError, match="as stored is not valid") as raised:
                find_datastore(client, name)
            assert showing({"message": "".join(traceback.format_exception(raised.value))}) == []
        store.delete(Datastore, name, client)


CREDENTIAL_URLS = [
    f"https://user:{PASSWORD}@host/x",
    f"s3://{S3_KEY}:{S3_SECRET}@bucket/x",
    f"s3://{S3_KEY}:{S3_SECRET[:20]}/{S3_SECRET[20:]}@bucket/x",
    f"https://account.blob.core.windows.net/c/x?sv=1&sig={PASSWORD}",
    f"abfs://c@account.dfs.core.windows.net/x?sig={PASSWORD}",
    f"https://bucket.s3.amazonaws.com/x?X-Amz-Credential={S3_KEY}&X-Amz-Signature={PASSWORD}",
    f"azureml://datastores/store/paths/x?sv=1&sig={PASSWORD}",
    f"simplecache::https://user:{PASSWORD}@host/x",
    f"store:x?sig={PASSWORD}",
    f"https://host/x?access_token={PASSWORD}",
]


@pytest.mark.parametrize("url", CREDENTIAL_URLS)
def test_a_url_with_a_credential_is_refused_before_it_is_sent(
    url: str, endpoints: Endpoints, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By each command that takes data; the request reaches no server, and nobody repeats it."""
    name = f"refusing-{uuid4().hex[:8]}"
    endpoints.make(name)
    calls = [
        ("invoke", name, "--input", url),
        ("invoke", name, "--input", str(tmp_path), "--output-path", url),
        ("invoke", name, "--set", f"inputs.data.path={url}"),
        ("invoke", name, "--input", str(tmp_path), "--set", f"outputs.score.path={url}"),
        ("data", "create", "--name", name, "--path", url),
        ("datastore", "create", name, "--type", "url", "--url", url),
    ]
    for call in calls:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(call))
        printed = capfd.readouterr()
        assert ended.value.code == 1 and printed.err.startswith("Error: "), call
        assert showing({"stdout": printed.out, "stderr": printed.err}, [*PLANTED, PASSWORD]) == [], call
    api = Api()
    sent = api.all("flow_runs", deployments={"name": {"any_": [name]}})
    assert sent == [] and name not in str(
        api.all("block_documents", block_types={"slug": {"any_": ["batch-datastore"]}})
    )
    assert showing(database(), [*PLANTED, PASSWORD]) == []
    # A caller who goes round the command line has written it into the parameters; nothing adds to that.
    with get_client(sync_client=True) as client, pytest.raises(BatchError) as raised:
        locate(url, client)
    assert showing({"message": str(raised.value)}, [*PLANTED, PASSWORD]) == []
