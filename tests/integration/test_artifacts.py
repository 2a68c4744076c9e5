"""What a job shows in the Prefect UI."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from endpoints import Endpoints
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter

from prefect_batch.flows import jobs


def test_artifacts_of_a_job(
    endpoints: Endpoints, script_deployment: Callable[..., Path], numbered_files: Callable[[int], Path]
):
    run = """
    if "item-00001" in mini_batch[0]:
        raise ValueError("no")
    return [1 for _ in mini_batch]
    """
    endpoints.deploy(script_deployment(run, mini_batch_size=1, retry_settings="{max_retries: 1}"), "artifacts")
    ended = endpoints.run("artifacts", numbered_files(4))
    with get_client(sync_client=True) as client:
        mine = ArtifactFilter.model_validate({"flow_run_id": {"any_": [ended.id]}})
        found = {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=mine)}
        progress = jobs.progress_of(client, UUID(ended.id))
    assert sorted(found) == ["batch-instances", "batch-output", "batch-progress", "batch-summary"]
    assert "1" in {row["instances"] for row in json.loads(str(found["batch-instances"].data))}
    assert progress == jobs.Progress(completed=4, total=4, items=4, failed=1, rows=3)
    assert found["batch-progress"].data == 100
    assert found["batch-progress"].description == "4 of 4 mini-batches, 4 of 4 files, 1 failed, 3 rows"
    table = {row["what"]: row["value"] for row in json.loads(str(found["batch-summary"].data))}
    assert (table["state"], table["succeeded"], table["failed"]) == ("Completed", "3", "1")
    assert str(ended.output / "predictions.csv") in str(found["batch-output"].data)
