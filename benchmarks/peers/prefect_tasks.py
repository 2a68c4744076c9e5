"""Plain Prefect and its Dask task runner: one mapped task a file. `python prefect_tasks.py KIND DATA MODEL OUT`

Against the server that PREFECT_API_URL names.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import flow, task
from prefect_dask import DaskTaskRunner

HERE = str(Path(__file__).parent)


@lru_cache
def load(kind: str, model: str) -> Any:
    """Once a worker process."""
    sys.path.insert(0, HERE)
    if kind == "images":
        from images import session

        return session(Path(model))
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(model)


@task
def score(kind: str, path: Path, model: str, out: Path) -> Any:
    loaded = load(kind, model)
    if kind == "images":
        from images import classify

        return path.name, classify(loaded, path.read_bytes())
    from tables import score_file

    return score_file(loaded, path, out)


RUNNER = DaskTaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None})


@flow(task_runner=RUNNER)
def score_all(kind: str, data: Path, model: str, out: Path) -> None:
    futures = [score.submit(kind, path, model, out) for path in sorted(data.iterdir())]
    results = [future.result() for future in futures]
    if kind == "images":
        pd.DataFrame(results, columns=["file", "class"]).dropna().to_csv(out / "predictions.csv", index=False)


if __name__ == "__main__":
    score_all(sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
