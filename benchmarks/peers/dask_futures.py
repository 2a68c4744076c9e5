"""Plain Dask: one future a file, on two worker processes. `python dask_futures.py KIND DATA MODEL OUT`

One large CSV file is cut by dask.dataframe into blocks of 16 MB.
"""

from __future__ import annotations

import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from distributed import Client, LocalCluster

sys.path.insert(0, str(Path(__file__).parent))


@lru_cache
def load(kind: str, model: str) -> Any:
    """Once a worker process."""
    if kind == "images":
        from images import session

        return session(Path(model))
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(model)


def warm(kind: str, model: str) -> None:
    load(kind, model)


def score(kind: str, path: Path, model: str, out: Path) -> Any:
    loaded = load(kind, model)
    if kind == "images":
        from images import classify

        return path.name, classify(loaded, path.read_bytes())
    from tables import score_file

    return score_file(loaded, path, out)


def predict(table: pd.DataFrame, model: str) -> pd.DataFrame:
    return pd.DataFrame({"prediction": load("csv", model).predict(table)}, index=table.index)


def main(kind: str, data: Path, model: Path, out: Path) -> None:
    files = sorted(data.iterdir())
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.run(sys.path.insert, 0, str(Path(__file__).parent))
        client.run(warm, kind, str(model))
        began = time.monotonic()
        if kind == "csv" and len(files) == 1:
            import dask.dataframe as dd

            table = dd.read_csv(str(files[0]), blocksize=16_000_000)
            scored = table.map_partitions(predict, str(model), meta={"prediction": float})
            scored.to_csv(str(out / "predictions-*.csv"), index=False)
        else:
            futures = client.map(lambda path: score(kind, path, str(model), out), files, pure=False)
            results = client.gather(futures)
            if kind == "images":
                pd.DataFrame(results, columns=["file", "class"]).dropna().to_csv(out / "predictions.csv", index=False)
        print(f"scoring {time.monotonic() - began:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
