"""What a job shows on its page: progress, told at most once a second, and its summary at the end."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from prefect_batch.flows import progress
from prefect_batch.flows.mapping import Tally
from prefect_batch.flows.pipeline_summary import PipelineSummary, StepSummary
from prefect_batch.flows.run_graph import StepCounts


class Client:
    """Records what is written; an artifact client with nothing behind it."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.called, self.answers = threading.Semaphore(0), threading.Event()
        self.answers.set()
        self.failures = 0

    def create_artifact(self, artifact: Any) -> Any:
        self.update_artifact(None, artifact)
        return SimpleNamespace(id=uuid4())

    def update_artifact(self, _: Any, artifact: Any) -> None:
        self.called.release()
        assert self.answers.wait(60)
        if self.failures:
            self.failures -= 1
            raise httpx.ConnectError("away")
        self.written.append(artifact)


@pytest.fixture
def client() -> Any:
    return Client()


def tally(done: int) -> Tally:
    return Tally(items_total=100, mini_batches_total=100, failures_allowed=0, items=done, mini_batches=done)


def test_a_slow_server_holds_up_nobody_and_is_told_the_newest(client: Any):
    client.answers.clear()
    with progress.ProgressArtifact(client, str(uuid4())) as report:
        report(tally(0))
        client.called.acquire()  # and it does not answer
        for done in range(1, 41):
            report(tally(done))
        client.answers.set()
        client.called.acquire()  # without another mini-batch that ends
        report(tally(100))
    assert [artifact.data for artifact in client.written] == [0, 40, 100]
    assert client.written[-1].metadata_["completed"] == "100"


def test_a_server_that_is_away(client: Any):
    client.failures = 1
    with progress.ProgressArtifact(client, str(uuid4())) as report:
        report(tally(50))
        client.called.acquire()
        client.called.acquire()
    assert [artifact.data for artifact in client.written] == [50]


def test_a_server_that_stays_away(client: Any):
    """It is only the progress that is not seen."""
    client.failures = 1000
    with progress.ProgressArtifact(client, str(uuid4())) as report:
        report(tally(50))
    assert not client.written


def test_steps(client: Any):
    with progress.StepProgress(client, str(uuid4())) as report:
        report(StepCounts(total=4, completed=2, failed=1))
    assert [artifact.data for artifact in client.written] == [50]
    assert client.written[-1].metadata_ == {"completed": "2", "total": "4", "failed": "1"}


def test_what_a_pipeline_leaves_on_its_page(client: Any):
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
