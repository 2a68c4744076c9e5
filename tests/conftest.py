"""One server, one worker and one set of models for the whole session.

The environment is set before anything imports Prefect: a home of its own, and a server on a free port that starts
with the first test that asks for it.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SESSION = Path(tempfile.mkdtemp(prefix="prefect-batch-tests-"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PORT = _free_port()
os.environ |= {
    "PREFECT_HOME": str(SESSION / "prefect"),
    "PREFECT_API_URL": f"http://127.0.0.1:{PORT}/api",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_API_REQUEST_TIMEOUT": "200",  # see WORKER_SETTINGS: on a loaded machine
    "PREFECT_CLI_PROMPT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_BATCH_WORKING_DIRECTORY": str(SESSION),
    "PREFECT_BATCH_ENVIRONMENTS": str(SESSION / "environments"),
}
# A suite that was started in the background of a script ignores SIGINT, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
for name in ("PREFECT_BATCH_DATASTORE", "MLFLOW_TRACKING_URI", "PREFECT_PROFILE"):
    os.environ.pop(name, None)
# A region or a session of the developer's own would change what the storage servers are asked.
for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_STORAGE_"))]:
    del os.environ[name]

import storage_servers  # noqa: E402
from processes import worker_pid  # noqa: E402
from proxy import Proxy  # noqa: E402
from telling import say_all  # noqa: E402

from prefect_batch.interfaces.cli import main  # noqa: E402
from prefect_batch.interfaces.local_server import LocalServer  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
BIN = Path(sys.executable).parent


def _exit(number: int, frame: object) -> None:
    pytest.exit(f"signal {number}", returncode=128 + number)


@pytest.fixture(scope="session", autouse=True)
def _session_folder() -> Iterator[None]:
    signal.signal(signal.SIGTERM, _exit)  # a suite that is stopped still stops its server
    yield
    shutil.rmtree(SESSION, ignore_errors=True)


@pytest.fixture(scope="session")
def server() -> Iterator[LocalServer]:
    """A Prefect server with a worker; the environment of this process points at it."""
    with (SESSION / "server.log").open("wb") as log:
        server = LocalServer(port=PORT, log=log, working_directory=SESSION)
        server.start()
        yield server
        say_all()
        server.stop()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint URL of an S3 server."""
    with storage_servers.s3_server(SESSION) as url:
        yield url


@pytest.fixture
def s3(s3_server: str) -> storage_servers.S3Bucket:
    """An empty bucket of the test's own."""
    return storage_servers.new_bucket(s3_server)


@pytest.fixture(scope="session")
def azure_server() -> Iterator[str]:
    """The endpoint URL of an Azure blob server."""
    try:
        context = storage_servers.azure_server(SESSION)
    except storage_servers.Unavailable as error:
        pytest.skip(str(error))
    with context as url:
        yield url


@pytest.fixture
def azure_blobs(azure_server: str) -> storage_servers.AzureContainer:
    """An empty container of the test's own."""
    return storage_servers.new_container(azure_server)


@pytest.fixture(scope="session")
def http_server() -> Iterator[storage_servers.HttpFiles]:
    """A static web server, with an index of each folder."""
    folder = SESSION / "http"
    folder.mkdir()
    with storage_servers.http_server(folder, SESSION) as url:
        yield storage_servers.HttpFiles(url, folder)


@pytest.fixture
def http_files(http_server: storage_servers.HttpFiles) -> storage_servers.HttpFiles:
    """An empty folder of the test's own on a static web server: put files into `.folder`, read them at `.url`."""
    return storage_servers.HttpFiles(
        http_server.endpoint_url, Path(tempfile.mkdtemp(prefix="files-", dir=http_server.folder))
    )


@pytest.fixture
def proxied() -> Iterator[Callable[..., Proxy]]:
    """Puts a proxy with faults in front of an endpoint URL; see `proxy.Proxy` for what it can do."""
    with contextlib.ExitStack() as started:
        yield lambda endpoint_url, **faults: started.enter_context(Proxy(endpoint_url, **faults))


@pytest.fixture
def cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `prefect-batch` (or `program=`) with arguments; `code` is the exit code that is expected."""

    def call(
        *arguments: str | Path,
        code: int = 0,
        program: str = "prefect-batch",
        cwd: Path | None = None,
        timeout: int = 180,
    ) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout, check=False)
        assert done.returncode == code, f"{command} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return call


@pytest.fixture
def cli_here(capsys: pytest.CaptureFixture[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """What `cli` does, in this process: for commands of which the start is not tested."""

    def call(*arguments: str | Path, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        command, ended = [*map(str, arguments)], 0
        with contextlib.chdir(cwd or Path.cwd()):
            try:
                main(command)
            except SystemExit as error:
                ended = error.code
        shown = capsys.readouterr()
        assert ended == code, f"{command} ended with {ended}\n{shown.out}\n{shown.err}"
        return subprocess.CompletedProcess(command, code, shown.out, shown.err)

    return call


def _shared(name: str) -> Path:
    """Real data, which lies beside the checkout for developers and CI, not for users."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}")
    return folder


@pytest.fixture(scope="session")
def heart_data() -> Path:
    """Four CSV files, 303 rows."""
    return _shared("heart")


@pytest.fixture(scope="session")
def billsum_data() -> Path:
    """CSV files of 800 rows in 49,220 lines: texts with newlines and quotes."""
    return _shared("billsum")


@pytest.fixture(scope="session")
def cancer_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's breast cancer data as six CSV files of unequal length, without the target."""
    from sklearn.datasets import load_breast_cancer

    frame = load_breast_cancer(as_frame=True).data
    folder = tmp_path_factory.mktemp("cancer")
    for number, (start, stop) in enumerate([(0, 100), (100, 101), (101, 300), (300, 450), (450, 560), (560, 569)]):
        frame.iloc[start:stop].to_csv(folder / f"cancer-{number}.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def cancer_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow model of the breast cancer data, with a signature."""
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = load_breast_cancer(as_frame=True, return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    path = tmp_path_factory.mktemp("models") / "cancer"
    mlflow.sklearn.save_model(model, str(path), signature=infer_signature(x, model.predict(x)))
    return path


@pytest.fixture
def script_deployment(tmp_path: Path) -> Callable[..., Path]:
    """Writes a deployment folder with a scoring script; returns the YAML's path.

    `run` is the body of run(mini_batch), which may call worker_pid(). `compute` is as the YAML has it; settings are
    keyword arguments.
    """

    def write(
        run: str,
        init: str = "pass",
        name: str = "scripted",
        endpoint: str = "scripts",
        compute: str | None = None,
        **settings: object,
    ) -> Path:
        folder = tmp_path / f"deployment-{name}"
        (folder / "code").mkdir(parents=True)
        body = textwrap.indent(textwrap.dedent(run).strip(), "    ")
        start = textwrap.indent(textwrap.dedent(init).strip(), "    ")
        (folder / "code" / "score.py").write_text(
            f"import os, sys, time\nfrom pathlib import Path\n\n\n{inspect.getsource(worker_pid)}\n\n"
            f"def init():\n{start}\n\n\ndef run(mini_batch):\n{body}\n"
        )
        lines = [f"name: {name}", f"endpoint_name: {endpoint}", "type: model"]
        lines += [f"compute: {compute}"] if compute else []
        lines += ["code_configuration:", "  code: code"]
        lines += ["  scoring_script: score.py", "settings:"] + [f"  {key}: {value}" for key, value in settings.items()]
        (folder / "deployment.yml").write_text("\n".join(lines) + ("\n" if settings else " {}\n"))
        return folder / "deployment.yml"

    return write


@pytest.fixture
def numbered_files(tmp_path: Path) -> Callable[[int], Path]:
    """Makes a folder of n small text files, `item-000.txt` holding `0` and so on."""

    def make(count: int) -> Path:
        folder = tmp_path / f"items-{count}"
        folder.mkdir()
        for number in range(count):
            (folder / f"item-{number:05d}.txt").write_text(str(number))
        return folder

    return make
