"""Where the seconds of a job go that has nothing to do: one file of five rows, on a server and a runner that wait."""

from __future__ import annotations

import datetime
from typing import Any

import data
from bench import Bench, Result
from prefect.client.orchestration import get_client


def measure(bench: Bench) -> Result:
    """Seconds of each part, of jobs one after the other; the first one is not counted."""
    folder = data.one_csv_file(bench.cache, 5)
    settings = {"max_concurrency_per_instance": 2}
    bench.ours.deploy("five", {"model": str(data.boosting_model(bench.cache)), "settings": settings})
    found: list[dict[str, float]] = []
    for number in range(bench.repeat + 1):
        before = datetime.datetime.now(datetime.UTC)
        taken, summary = bench.ours.run("five", folder, bench.work / f"five-{number}")
        parts = _parts(summary, before) | {"busy": taken.busy}
        bench.say(", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items()))
        if number:
            found.append(parts)
    return {"runs": found}


def _parts(summary: dict[str, Any], before: datetime.datetime) -> dict[str, float]:
    with get_client(sync_client=True) as client:
        job = summary["job"]
        states = {state.name: state.timestamp for state in reversed(client.read_flow_run_states(job))}
    marks = [("the command, to the job's making", states["Scheduled"])]
    marks += [("until the worker takes it", states["Pending"]), ("process start and imports", states["Running"])]
    marks += [("the job", states["Completed"])]
    found, last = dict[str, float](), before
    for name, at in marks:
        found[name], last = (at - last).total_seconds(), at
    found |= {f"of it {name}": float(seconds) for name, seconds in summary["seconds"].items()}
    return found | {"call to Completed": (last - before).total_seconds()}
