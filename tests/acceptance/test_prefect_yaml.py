"""prefect.yaml: an endpoint that is declared in a file."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse

from prefect_batch.flows.publication import ENTRYPOINT, WORK_POOL
from prefect_batch.interfaces.local_server import LocalServer

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., subprocess.CompletedProcess[str]]


def deployment() -> DeploymentResponse:
    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name("endpoint/default")


def test_deploy_all_registers_the_endpoint(cli: Cli, server: LocalServer, tmp_path: Path):
    """With the examples that are comments in the file, which survive that the endpoint is brought in line."""
    text = (ROOT / "prefect.yaml").read_text()
    (tmp_path / "prefect.yaml").write_text(re.sub(r"^( +)# ", r"\1", text, flags=re.MULTILINE))
    cli("--no-prompt", "deploy", "--all", program="prefect", cwd=tmp_path)
    held = deployment()
    assert held.entrypoint == ENTRYPOINT
    assert held.work_pool_name == WORK_POOL
    assert held.pull_steps == []
    assert held.parameters == {"endpoint": "default"}
    assert held.tags == ["prefect-batch"]

    cli("endpoint", "create", "default")
    brought_in_line = deployment()
    assert brought_in_line.id == held.id
    schema = brought_in_line.parameter_openapi_schema
    assert schema is not None and {"inputs", "outputs", "deployment", "settings"} <= set(schema["properties"])
    assert "endpoint" not in schema["properties"]
    assert brought_in_line.parameters == {"endpoint": "default"}
    assert [schedule.slug for schedule in brought_in_line.schedules] == ["nightly"]
    with get_client(sync_client=True) as client:
        (automation,) = client.read_automations_by_name("after-cancer")
        watching = client.read_deployment_by_name("watch/incoming")
        client.delete_deployment(watching.id)
    assert automation.enabled
    assert (watching.entrypoint, watching.parameters["endpoint"]) == ("prefect_batch.flows.watch:watch", "default")
