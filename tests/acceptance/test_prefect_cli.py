"""Prefect's own command line does with our jobs what it does with any flow run."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from prefect_batch.blocks.endpoint import BatchEndpoint
from prefect_batch.flows import catalog
from prefect_batch.interfaces.local_server import LocalServer

Prefect = Callable[..., str]
HELD = """
while not Path({gate!r}).exists():
    time.sleep(0.05)
return mini_batch
"""


@pytest.fixture
def prefect(cli: Callable[..., subprocess.CompletedProcess[str]]) -> Prefect:
    """Runs Prefect's command line; returns what it printed."""
    return lambda *arguments, **options: cli(*arguments, program="prefect", **options).stdout


@pytest.fixture
def held(server: LocalServer, script_deployment: Callable[..., Path], tmp_path: Path) -> Iterator[str]:
    """An endpoint whose jobs do not end until they are cancelled, or the test has."""
    name, gate = f"held-{uuid.uuid4().hex[:8]}", tmp_path / "gate"
    with get_client(sync_client=True) as client:
        catalog.create_endpoint(client, BatchEndpoint(name=name))
        deployment = script_deployment(HELD.format(gate=str(gate)), name="held", retry_settings="{timeout: 600}")
        catalog.create_deployment(client, deployment, endpoint=name, set_default=True)
    yield name
    gate.touch()


def call(prefect: Prefect, endpoint: str, *parameters: str) -> str:
    """The id of a job."""
    options = [option for parameter in parameters for option in ("--param", parameter)]
    printed = prefect("deployment", "run", f"endpoint/{endpoint}", *options)
    return next(word for line in printed.splitlines() if "UUID:" in line for word in line.split() if "-" in word)


def test_the_settings_of_one_job(prefect: Prefect, held: str, numbered_files: Callable[[int], Path]):
    job = call(prefect, held, f"input={numbered_files(1)}", 'settings={"mini_batch_size": 7}')
    assert json.loads(prefect("flow-run", "inspect", job, "-o", "json"))["parameters"]["settings"] == {
        "mini_batch_size": 7
    }
    prefect("flow-run", "cancel", job)


def test_jobs_are_listed_shown_and_cancelled(prefect: Prefect, held: str, numbered_files: Callable[[int], Path]):
    job = call(prefect, held, f"input={numbered_files(1)}")
    listed = json.loads(prefect("flow-run", "ls", "--flow-name", "endpoint", "--limit", "200", "-o", "json"))
    assert job in [run["id"] for run in listed]
    assert json.loads(prefect("flow-run", "inspect", job, "-o", "json"))["parameters"]["endpoint"] == held
    prefect("flow-run", "cancel", job)
    assert json.loads(prefect("flow-run", "inspect", job, "-o", "json"))["state"]["type"] in ("CANCELLING", "CANCELLED")
