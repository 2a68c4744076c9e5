"""The progress artifact is updated at most once a second."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from prefect_batch.flows import progress
from prefect_batch.flows.mapping import Tally


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
