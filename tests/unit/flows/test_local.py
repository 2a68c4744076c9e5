"""Steps on threads of this process, with real commands."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.component import PipelineComponent
from prefect_batch.blocks.compute import builtin_local
from prefect_batch.blocks.pipeline_deployment import PipelineDeployment
from prefect_batch.blocks.pipeline_settings import PipelineSettings
from prefect_batch.flows.local import run_graph_local
from prefect_batch.flows.pipeline_job import PipelineJob
from prefect_batch.flows.pipeline_summary import PipelineSummary

MEET = """
import sys, time
from pathlib import Path
me, other = map(Path, sys.argv[1:])
me.touch()
deadline = time.monotonic() + 30
while not other.exists():
    assert time.monotonic() < deadline, f"{other} never came"
    time.sleep(0.01)
print("met", other.name)
"""
HOLD = """
import os, sys, time
from pathlib import Path
path = Path(sys.argv[1])
path.with_suffix(".part").write_text(str(os.getpid()))
path.with_suffix(".part").rename(path)
time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., PipelineSummary]:
    """Runs steps that are Python programs; each is a text and its arguments."""

    def call(steps: dict[str, tuple[str, ...]], **settings: Any) -> PipelineSummary:
        jobs: dict[str, Any] = {}
        for name, (program, *arguments) in steps.items():
            script = tmp_path / f"{name}.py"
            script.write_text(program)
            jobs[name] = {"component": {"command": " ".join([sys.executable, str(script), *arguments])}}
        graph = PipelineComponent.model_validate({"jobs": jobs})
        job = PipelineJob(
            id="local-1",
            endpoint=None,
            deployment=PipelineDeployment(name="graph", endpoint_name="unused", graph=graph),
            compute=builtin_local(),
            settings=PipelineSettings(**settings),
            root=str(tmp_path / "job"),
        )
        job.save()
        logger = logging.getLogger("prefect_batch.test_local")
        logger.setLevel(logging.INFO)
        return run_graph_local(job, lambda _: None, logger)

    return call


def test_steps_run_at_once_and_their_lines_say_whose_they_are(
    run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    with caplog.at_level(logging.INFO, "prefect_batch.test_local"):
        summary = run({"left": (MEET, one, other), "right": (MEET, other, one)})
    assert summary.completed
    assert {"left: met other", "right: met one"} <= set(caplog.messages)


def test_one_at_a_time(run: Any, tmp_path: Path):
    """Each step asserts that no other runs."""
    alone = "import sys, time\nfrom pathlib import Path\nPath(sys.argv[1]).mkdir()\ntime.sleep(0.2)\n"
    alone += "Path(sys.argv[1]).rmdir()\n"
    steps = {name: (alone, str(tmp_path / "alone")) for name in ("a", "b", "c")}
    assert run(steps, max_concurrency_per_instance=1).completed


def test_a_failure_kills_what_runs_and_starts_nothing(
    run: Any, tmp_path: Path, gone: Callable[[int], bool], eventually: Callable[..., Any]
):
    pid = tmp_path / "pid"
    bad = (MEET + "sys.exit('went wrong')", str(tmp_path / "bad"), str(pid))
    steps = {"bad": bad, "long": (HOLD, str(pid)), "later": ("print('ran')",)}
    before = set(threading.enumerate())
    summary = run(steps, continue_on_step_failure=False, max_concurrency_per_instance=2)
    assert summary.message.startswith("step 'bad' failed: exited with code 1")
    assert summary.message.endswith("met pid\nwent wrong")
    assert [step.state for step in summary.steps] == ["Failed", "Cancelled", "Cancelled"]
    assert summary.steps[2].message == "another step failed, and continue_on_step_failure is false"
    assert eventually(lambda: gone(int(pid.read_text())))
    assert not (tmp_path / "job" / "steps" / "later" / "log.txt").exists()
    started = set(threading.enumerate()) - before
    assert not [thread for thread in started if thread.name.startswith("ThreadPoolExecutor")]
