"""Endpoints on the session's server, and jobs on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from endpoints import Endpoints
from prefect.client.orchestration import SyncPrefectClient, get_client

from prefect_batch.interfaces.local_server import LocalServer


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
