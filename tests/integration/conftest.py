"""Endpoints on the session's server, and jobs on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from endpoints import Endpoints
from prefect.client.orchestration import SyncPrefectClient, get_client

from prefect_batch.interfaces.local_server import LocalServer
from prefect_batch.interfaces.worker import fork_servers


@pytest.fixture(scope="session")
def _fork_servers() -> Iterator[dict[str, str]]:
    """The variables by which processes are forked from such servers as a worker has."""
    before = dict(os.environ)
    with fork_servers():
        variables = {name: os.environ.pop(name) for name in os.environ.keys() - before}
        yield variables


@pytest.fixture(scope="module", autouse=True)
def _forks(_fork_servers: dict[str, str]) -> Iterator[None]:
    """Jobs whose flow runs in this process have what those of a worker have, and start as fast."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in _fork_servers.items():
            environment.setenv(name, value)
        yield


@pytest.fixture
def client(server: LocalServer) -> Iterator[SyncPrefectClient]:
    """Of the session's server."""
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="session")
def endpoints(server: LocalServer) -> Endpoints:
    return Endpoints()


@pytest.fixture
def model_deployment(tmp_path: Path) -> Callable[..., Path]:
    """Writes the YAML of a deployment of an MLflow model."""

    def write(model: Path, name: str = "model", **settings: object) -> Path:
        path = tmp_path / f"{name}.yml"
        lines = [f"name: {name}", "endpoint_name: unused", "type: model", f"model: {model}", "settings:"]
        lines += [f"  {key}: {value}" for key, value in settings.items()]
        path.write_text("\n".join(lines) + ("\n" if settings else " {}\n"))
        return path

    return write
