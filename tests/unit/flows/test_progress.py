"""What a job shows on its page: progress, updated at most once a second, and its summary at the end."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from prefect_batch.flows import progress
from prefect_batch.flows.mapping import Tally
from prefect_batch.flows.pipeline_summary import PipelineSummary, StepSummary
from prefect_batch.flows.run_graph import StepCounts


class Client:
    """Records what is written; an artifact client with nothing behind it."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    def create_artifact(self, artifact: Any) -> Any:
        self.written.append(artifact)
        return SimpleNamespace(id=uuid4())

    def update_artifact(self, _: Any, artifact: Any) -> None:
        self.written.append(artifact)


def test_at_most_one_update_a_second_and_always_the_last(monkeypatch: pytest.MonkeyPatch):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    client: Any = Client()
    report = progress.ProgressArtifact(client, str(uuid4()))
    tally = Tally(items_total=100, mini_batches_total=100, failures_allowed=0)
    for done in range(101):
        now = done / 25  # four seconds in all
        tally.mini_batches = tally.items = done
        report(tally)
    assert len(client.written) == 5
    assert client.written[-1].data == 100
    assert client.written[-1].metadata_["completed"] == "100"


def test_steps(monkeypatch: pytest.MonkeyPatch):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    client: Any = Client()
    report = progress.StepProgress(client, str(uuid4()))
    report(StepCounts(total=4))
    report(StepCounts(total=4, completed=1))
    now = 2.0
    report(StepCounts(total=4, completed=2, failed=1))
    assert [artifact.data for artifact in client.written] == [0, 50]
    assert client.written[-1].metadata_ == {"completed": "2", "total": "4", "failed": "1"}


def test_what_a_pipeline_leaves_on_its_page():
    client: Any = Client()
    steps = [
        StepSummary("prepare", "Completed", reused_from="a-job", attempts=0),
        StepSummary("train", "Failed", "exited with code 3", 1.5, 2),
        StepSummary("evaluate", message="needs train"),
    ]
    summary = PipelineSummary(
        str(uuid4()),
        "heart",
        "train (version 1)",
        "Failed",
        "step 'train' failed: exited with code 3",
        inputs={"seed": 7},
        outputs={"transformations": "/out/a b", "model": "s3://bucket/model"},
        steps=steps,
    )
    progress.publish_pipeline(client, summary)
    whole, table, links = client.written
    assert {"what": "input seed", "value": "7"} in json.loads(whole.data)
    assert [(row["step"], row["state"], row["attempts"]) for row in json.loads(table.data)] == [
        ("prepare", "Completed, reused from job a-job", "0"),
        ("train", "Failed", "2"),
        ("evaluate", "NotRun", "0"),
    ]
    assert links.data == (
        "- transformations: [/out/a b](file:///out/a%20b)\n- model: [s3://bucket/model](s3://bucket/model)"
    )
