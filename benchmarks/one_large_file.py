"""One large CSV file, scored by one worker and by two.

    python benchmarks/one_large_file.py [--megabytes 1000] [--mini-batch-size 64MB] [--text] [--repeat 1]

A server of its own is started; a gradient boosting model, trained on the spot, scores the file, with one thread in
each process. Each round runs one job on one worker and then one on two. Printed are the seconds of the scoring phase
and of the whole job, and the most memory that any process of a job held. Goals: two workers are 1.8 times as fast or
more; no process needs 600 MB.

The file is made once and kept in --cache.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
GOAL, GOAL_MB = 1.8, 600
COLUMNS = [f"x{number:02d}" for number in range(20)]
BLOCK_ROWS = 50_000
SAMPLE_SECONDS = 0.25
# What a process is called in the table, by a text of its command line; the first that fits.
ROLES = {
    "prefect_batch.scoring": "scoring process",
    "prefect.flow_engine": "flow",
    "prefect.engine": "flow",
    "prefect.runner": "runner",
    "flow-run execute": "runner",
    "multiprocessing": "Dask worker or helper",
    "worker start": "Prefect worker",
}


@dataclass
class Used:
    """What the processes of one role used in one job."""

    resident: float = 0.0
    """MB, the most that any one of them held."""
    own: float = 0.0
    """The same without what it shares with others (USS)."""
    seconds: float = 0.0
    """Of processors, all of them together."""


@dataclass
class Measured:
    """One job."""

    workers: int
    score: float
    total: float
    rows: int
    busy: float
    """Seconds in calls of the model, reading and writing included, over all workers."""
    used: dict[str, Used]
    """By role of a process."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the file (default: %(default)s)")
    parser.add_argument("--mini-batch-size", default="64MB", help="(default: %(default)s)")
    parser.add_argument("--text", action="store_true", help="with a column of quoted text of several lines")
    parser.add_argument("--trees", type=int, default=100, help="of the model (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=1, help="rounds (default: %(default)s)")
    cache = Path(tempfile.gettempdir()) / "prefect-batch-benchmark"
    parser.add_argument("--cache", type=Path, default=cache, help="folder for the file (default: %(default)s)")
    given = parser.parse_args()

    sys.path.insert(0, str(ROOT / "benchmarks"))
    from machine import describe

    print(describe("prefect", "dask", "mlflow", "scikit-learn", "pandas", "pyarrow"))
    data = large_file(given.cache, given.megabytes, given.text)
    print(
        f"{data.stat().st_size / 1e6:.0f} MB, mini_batch_size {given.mini_batch_size}, {given.trees} trees", flush=True
    )
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder:
        set_environment(Path(folder))
        deployment = write_deployment(Path(folder), given.mini_batch_size, given.trees)
        with server(Path(folder)) as worker:
            call("endpoint", "create", "large")
            call("deployment", "create", "-f", deployment, "--set-default")
            for number in range(1, given.repeat + 1):
                for workers in (1, 2):
                    measured.append(one_job(worker, data, workers, Path(folder) / f"{number}-{workers}"))
                    last = measured[-1]
                    print(f"round {number}, {workers} workers: score {last.score:.1f} s, job {last.total:.1f} s")
    report(measured)
    return 0


# --------------------------------------------------------------------------------------------- model and data


def large_file(folder: Path, megabytes: int, text: bool) -> Path:
    """A CSV file of that size: 20 columns of numbers, and one of quoted text if asked for."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    path = folder / f"large-{megabytes}{'-text' if text else ''}.csv"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    values = random.normal(size=(BLOCK_ROWS, len(COLUMNS))).round(6)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as stream:
        first = True
        while stream.tell() < megabytes * 1_000_000:
            # Blocks differ, but drawing them all anew would take longer than scoring them.
            values = np.roll(values, 1, axis=1)
            table = {name: pa.array(values[:, number]) for number, name in enumerate(COLUMNS)}
            if text:
                table["note"] = pa.array([f'line {row}, "quoted"\nsecond line' for row in range(BLOCK_ROWS)])
            csv.write_csv(pa.table(table), stream, csv.WriteOptions(include_header=first))
            first = False
    return temporary.rename(path)


def write_deployment(folder: Path, mini_batch_size: str, trees: int) -> Path:
    """An MLflow model and the deployment of it."""
    import logging

    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.ensemble import HistGradientBoostingRegressor

    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns of cloudpickle; the model is our own
    random = np.random.default_rng(1)
    x = pd.DataFrame(random.normal(size=(20_000, len(COLUMNS))), columns=COLUMNS)
    y = x["x00"] * x["x01"] + x["x02"] ** 2 + random.normal(size=len(x))
    model = HistGradientBoostingRegressor(max_iter=trees, early_stopping=False).fit(x, y)
    mlflow.sklearn.save_model(
        model,
        str(folder / "model"),
        signature=infer_signature(x, model.predict(x)),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",  # the default refuses trees
    )
    path = folder / "deployment.yml"
    path.write_text(
        "name: boosting\nendpoint_name: large\ntype: model\nmodel: model\n"
        f"settings:\n  mini_batch_size: {mini_batch_size}\n  max_concurrency_per_instance: 1\n"
    )
    return path


# ---------------------------------------------------------------------------------------------------- running


def set_environment(folder: Path) -> None:
    """A Prefect home of the benchmark's own."""
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
        del os.environ[name]
    os.environ |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }


@contextlib.contextmanager
def server(folder: Path) -> Generator[psutil.Process]:
    """A server and a worker; the worker, of which the processes of a job are descendants."""
    from prefect_batch.interfaces.local_server import LocalServer

    with (folder / "server.log").open("wb") as log:
        local = LocalServer(log=log, working_directory=folder)
        try:
            local.start()
            os.environ["PREFECT_API_URL"] = local.api_url
            yield psutil.Process(local.processes[1].pid)
        finally:
            local.stop()


def one_job(worker: psutil.Process, data: Path, workers: int, results: Path) -> Measured:
    start = time.monotonic()
    with sampled(worker) as used:
        job = call("invoke", "large", "--input", data, "--instance-count", str(workers)).split()[0]
        call("job", "stream", job)
        total = time.monotonic() - start
    call("job", "download", job, "--download-path", results)
    summary = json.loads(next(results.rglob("summary.json")).read_text())
    seconds = summary["seconds"]
    return Measured(workers, seconds["score"], total, summary["rows"], seconds["busy"], used)


def call(*arguments: str | Path) -> str:
    command = [str(BIN / "prefect-batch"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def sampled(root: psutil.Process) -> Generator[dict[str, Used]]:
    """What the descendants of a process use while the block runs, by role; filled in at its end."""
    used: dict[str, Used] = {}
    seconds: dict[tuple[str, int], float] = {}
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            for process in root.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    memory, role = process.memory_full_info(), role_of(process)
                    seconds[role, process.pid] = sum(process.cpu_times()[:2])
                    one = used.setdefault(role, Used())
                    one.resident = max(one.resident, memory.rss / 1e6)
                    one.own = max(one.own, memory.uss / 1e6)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield used
    finally:
        done.set()
        thread.join()
        for (role, _), spent in seconds.items():
            used[role].seconds += spent


def role_of(process: psutil.Process) -> str:
    command = " ".join(process.cmdline())
    return next((role for text, role in ROLES.items() if text in command), command[:60] or "?")


def report(measured: list[Measured]) -> None:
    def median(workers: int, what: str) -> float:
        values: list[Any] = [getattr(one, what) for one in measured if one.workers == workers]
        return statistics.median(values)

    print(f"\n{'':10}{'score s':>10}{'job s':>10}{'rows':>12}{'rows/s':>10}{'busy s':>10}")
    for workers in (1, 2):
        score, total, rows, busy = (median(workers, what) for what in ("score", "total", "rows", "busy"))
        print(f"{workers} workers {score:10.1f}{total:10.1f}{rows:12.0f}{rows / score:10.0f}{busy:10.1f}")
    ratio = median(1, "score") / median(2, "score")
    print(f"Scoring on 2 is {ratio:.2f} times as fast; goal {GOAL:g} or more: {'met' if ratio >= GOAL else 'missed'}")
    print(f"The whole job is {median(1, 'total') / median(2, 'total'):.2f} times as fast.")

    print(f"\n{'':24}{'MB resident':>12}{'MB of its own':>15}{'processor s, 1 worker':>23}{'2 workers':>11}")
    none = Used()
    roles = {role for one in measured for role in one.used}
    most = {role: max(one.used.get(role, none).resident for one in measured) for role in roles}
    for role in sorted(roles, key=lambda role: -most[role]):
        own = max(one.used.get(role, none).own for one in measured)
        spent = [statistics.median(m.used.get(role, none).seconds for m in measured if m.workers == n) for n in (1, 2)]
        print(f"{role:24}{most[role]:12.0f}{own:15.0f}{spent[0]:23.1f}{spent[1]:11.1f}")
    peak = max(most.values())
    print(f"The most that a process held: {peak:.0f} MB; goal below {GOAL_MB}: {'met' if peak < GOAL_MB else 'missed'}")


if __name__ == "__main__":
    sys.exit(main())
