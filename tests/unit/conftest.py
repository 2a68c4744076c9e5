"""What unit tests share: no server, no cluster; real child processes and real files below tmp_path."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import is_running

from prefect_batch.scoring.contract import ScoringSpec
from prefect_batch.scoring.supervisor import ScoringProcess


def _eventually(condition: Callable[[], Any], what: str = "", seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.01)
    return value


def _gone(pid: int) -> bool:
    return not is_running(pid)


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Polls a condition until it holds, at most 30 seconds; returns its value."""
    return _eventually


@pytest.fixture
def gone() -> Callable[[int], bool]:
    return _gone


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., ScoringSpec]:
    """Writes a scoring script; returns the spec of it. `init` and `shutdown` are added when the text has none."""

    def write(text: str, name: str = "score.py", **spec: Any) -> ScoringSpec:
        folder = tmp_path / "code"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        text = textwrap.dedent(text)
        if "def init" not in text:
            text = f"def init():\n    pass\n\n{text}"
        (folder / name).write_text(text)
        return ScoringSpec(**{"code_dir": str(folder), "scoring_script": name, "output_format": "csv", **spec})

    return write


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., ScoringProcess]]:
    """Makes scoring processes that are gone after the test; `init_timeout` and `sink` as of ScoringProcess."""
    made: list[ScoringProcess] = []

    def make(spec: ScoringSpec, init_timeout: float = 60, **options: Any) -> ScoringProcess:
        made.append(ScoringProcess(spec, tmp_path / "process.log", init_timeout, **options))
        return made[-1]

    yield make
    for one in made:
        one.close(at_once=True)
    assert all(one.pid is None for one in made)


@pytest.fixture
def open_files() -> Callable[[], set[str]]:
    """The file descriptors of this process, but for files that libraries map."""
    return lambda: {fd.name for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
