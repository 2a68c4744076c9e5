"""What a mini-batch costs beside its scoring: files that a no-op scores, in plain tasks of Prefect and in ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import data
import measuring
from bench import PEERS, Bench, Result
from measuring import BenchmarkFailed
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter

NOTHING = "def init():\n    pass\n\n\ndef run(mini_batch):\n    return [1] * len(mini_batch)\n"
COUNTS = [1000, 10_000, 100_000]


def empty_files(folder: Path, count: int) -> Path:
    """A folder with so many empty files."""

    def fill(path: Path) -> None:
        for number in range(count):
            (path / f"{number:06d}").touch()

    return data.made_once(folder / f"empty-{count}", fill)


def deploy(bench: Bench, endpoint: str, script: str = NOTHING, **settings: Any) -> None:
    """An endpoint whose script does next to nothing, with one file a mini-batch."""
    settings = {"mini_batch_size": 1, "max_concurrency_per_instance": 2} | settings
    code = {"code_configuration": {"code": ".", "scoring_script": "score.py"}}
    bench.ours.deploy(endpoint, code | {"settings": settings}, score=script)


def measure(bench: Bench) -> Result:
    """Prefect's own map of so many tasks, ours for as many mini-batches, and for more of them, in turn."""
    deploy(bench, "nothing")
    counts = [bench.scaled(count, 10) for count in COUNTS]
    found: Result = {"stock": [], **{str(count): [] for count in counts}}
    for number in range(bench.repeat):
        measuring.at_rest()
        stock, told = measuring.run(
            [bench.python("plain"), PEERS / "prefect_map.py", str(counts[0])], bench.ours.env, bench.work
        )
        found["stock"].append(stock.plain() | {"completed": int(told.split("completed ")[1].split()[0])})
        bench.say(f"stock {number + 1}/{bench.repeat}: {stock.scoring:.1f} s")
        for count in counts:
            taken, summary = bench.ours.run(
                "nothing", empty_files(bench.cache, count), bench.work / f"nothing-{number}-{count}"
            )
            if summary["mini_batches"] != count or summary["succeeded"] != count:
                raise BenchmarkFailed(f"{count} mini-batches gave {summary}")
            completed = completed_tasks(summary["job"])
            found[str(count)].append(taken.plain() | {"completed": completed})
            bench.say(
                f"{count} mini-batches {number + 1}/{bench.repeat}: {taken.wall:.1f} s, scoring {taken.scoring:.1f} s, "
                f"{completed} task runs completed"
            )
    return found


def completed_tasks(job: str) -> int:
    """Task runs below a job that the server knows as completed."""
    with get_client(sync_client=True) as client:
        below = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [job]}})
        flows = [str(run.id) for run in client.read_flow_runs(flow_run_filter=below)]
        of_flows = FlowRunFilter.model_validate({"id": {"any_": flows}})
        done = TaskRunFilter.model_validate({"state": {"type": {"any_": ["COMPLETED"]}}})
        found, offset = 0, 0
        while page := client.read_task_runs(flow_run_filter=of_flows, task_run_filter=done, limit=200, offset=offset):
            found, offset = found + len(page), offset + 200
    return found
