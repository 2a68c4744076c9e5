"""The REST gateway in this process, with callers of a test's own."""

from __future__ import annotations

import contextvars
import socket
import threading
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists

from prefect_batch.blocks.grants import Grant
from prefect_batch.flows.publication import published
from prefect_batch.interfaces.callers import Caller
from prefect_batch.interfaces.rest import create_app
from prefect_batch.interfaces.rest_settings import GatewaySettings
from prefect_batch.scoring.errors import Unauthenticated

UNLIMITED = {"requests_per_second": 0, "concurrent_requests": 0, "request_seconds": 300}
UNSERVED = "unserved"


class Tokens:
    """A provider whose tokens are the names of their principals.

    Args:
        grants: of each principal, as `invoke:heart read:heart`.
    """

    def __init__(self, grants: Mapping[str, str]) -> None:
        self._grants = grants

    def authenticate(self, token: str) -> Caller | None:
        if token == "bad":
            raise Unauthenticated("the token has expired")
        if token not in self._grants:
            return None
        return Caller(token, tuple(Grant.parse(text) for text in self._grants[token].split()))


@contextmanager
def gateway(grants: Mapping[str, str] | None = None, **settings: Any) -> Generator[httpx.Client]:
    """A client of a gateway for these callers; of one without authentication for None."""
    known = [Tokens(grants)] if grants is not None else []
    app = create_app(GatewaySettings.model_validate(UNLIMITED | settings), known)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
        # With the settings of the test, which a thread would not have.
        thread = threading.Thread(target=contextvars.copy_context().run, args=(server.run, [listening]))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, timeout=300, limits=httpx.Limits(max_connections=64)) as client:
                _wait(client, thread)
                yield client
        finally:
            server.should_exit = True
            thread.join()


def _wait(client: httpx.Client, thread: threading.Thread) -> None:
    """Until it answers: it listens once its thread has come so far."""
    while thread.is_alive():
        try:
            client.get("/health")
            return
        except httpx.ConnectError:
            time.sleep(0.02)
    raise AssertionError("the gateway did not start")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def leave_unserved(endpoint: str) -> None:
    """Let no worker take the endpoint's jobs."""
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=UNSERVED, type="process"))
        except ObjectAlreadyExists:
            pass
        held = published(client, endpoint)
        assert held is not None
        client.update_deployment(held.id, DeploymentUpdate(work_pool_name=UNSERVED))


def deploy_unserved(endpoints: Any, folder: Path, stem: str, deployments: Sequence[str] = ("plain",)) -> str:
    """An endpoint with deployments of a script, the last of them the default; no worker takes its jobs.

    Args:
        endpoints: of the integration tests.
        folder: for the files.
        stem: of its name.
        deployments: their names.
    """
    name = new_name(stem)
    (folder / "score.py").write_text("def init():\n    pass\n\n\ndef run(mini_batch):\n    return mini_batch\n")
    for deployment in deployments:
        path = folder / f"{deployment}.yml"
        code = "code_configuration: {code: ., scoring_script: score.py}"
        path.write_text(f"name: {deployment}\nendpoint_name: unused\ntype: model\n{code}\nsettings: {{}}\n")
        endpoints.deploy(path, name)
    leave_unserved(name)
    return name


def new_name(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:6]}"
