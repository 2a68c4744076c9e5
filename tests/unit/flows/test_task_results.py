"""Tasks of flows in Python: what they raise and return."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.flows.task_results import InJob
from prefect_batch.flows.task_runner import LABEL


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("no good")
        self.lock = threading.Lock()


class CannotBeMadeAgain(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


def throw(error: BaseException) -> Callable[[], None]:
    def task() -> None:
        raise error

    return task


@pytest.mark.parametrize(
    ("task", "kind", "message"),
    [
        (lambda: sys.exit(3), RuntimeError, r"sys.exit\(3\) was called"),
        (lambda: sys.exit(), RuntimeError, r"sys.exit\(None\) was called"),
        (throw(KeyboardInterrupt()), RuntimeError, "KeyboardInterrupt"),
        (throw(Unpicklable()), RuntimeError, "Unpicklable: no good"),
        (throw(CannotBeMadeAgain("no", "good")), RuntimeError, "CannotBeMadeAgain: no good"),
        (throw(ZeroDivisionError("no")), ZeroDivisionError, "no"),
        (threading.Lock, TypeError, "what it returns cannot be pickled: .*lock"),
    ],
)
def test_what_would_harm_a_worker_or_not_reach_the_flow(
    tmp_path: Path, task: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    token = LABEL.set("label-1")
    try:
        with pytest.raises(kind, match=f"^{message}"):
            InJob(task, str(tmp_path), isasync=False)()
    finally:
        LABEL.reset(token)
    assert not (tmp_path / "results").exists()
