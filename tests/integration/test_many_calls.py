"""Many programs that call an endpoint at the same time, through Prefect's API alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient

from prefect_batch.interfaces.local_server import LocalServer

from .conftest import Endpoints


def test_calls_at_once_are_all_taken_at_the_first_try(
    client: SyncPrefectClient,
    endpoints: Endpoints,
    script_deployment: Callable[..., Path],
    numbered_files: Callable[[int], Path],
    server: LocalServer,
):
    """Prefect's own clients ask again after 503, each time later; others may not."""
    endpoints.deploy(script_deployment("return mini_batch"), "many-calls")
    deployment = client.read_deployment_by_name("endpoint/many-calls").id
    url = f"{server.api_url}/deployments/{deployment}/create_flow_run"
    parameters = {"endpoint": "many-calls", "inputs": {"data": str(numbered_files(1))}}
    body = {"parameters": parameters, "state": {"type": "PAUSED", "name": "Held"}}  # which no worker starts
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: httpx.post(url, json=body, timeout=120.0), range(40)))
    assert {answer.status_code for answer in answers} == {201}
    ids = {answer.json()["id"] for answer in answers}
    assert len(ids) == 40
    for job in ids:
        client.delete_flow_run(job)
