"""Starting a job again whose process has just been killed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.states import Crashed

from prefect_batch.flows import jobs

FIRST = "Process exited with status code: -9. Process exited due to a SIGKILL signal."
OF_A_RUNNER = "Flow run process exited with non-zero status code -9."
SECOND = "Flow run infrastructure exited with non-zero status code -9."


class Client:
    """Of a server that a worker tells of a crash once more."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def read_flow_run(self, _: str) -> Any:
        self.told.append("second crash")
        return SimpleNamespace(state=Crashed(message=SECOND))

    def set_flow_run_state(self, _: str, state: Any, force: bool) -> None:
        self.told.append(state.name)


@pytest.mark.parametrize(
    ("message", "age", "told"),
    [
        (FIRST, 0.0, ["second crash", "AwaitingRetry"]),
        (OF_A_RUNNER, 0.0, ["second crash", "AwaitingRetry"]),
        (SECOND, 0.0, ["AwaitingRetry"]),
        (FIRST, 60.0, ["AwaitingRetry"]),  # by one who tells once
    ],
)
def test_a_crash_that_is_told_twice_does_not_undo_it(message: str, age: float, told: list[str]) -> None:
    client: Any = Client()
    crashed = Crashed(message=message)
    crashed.timestamp = datetime.now(UTC) - timedelta(seconds=age)
    run: Any = SimpleNamespace(id="a-job", state=crashed)
    jobs.resume(client, run)
    assert client.told == told
