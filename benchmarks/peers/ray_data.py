"""Ray Data: map_batches with an actor class, two actors. `python ray_data.py KIND DATA MODEL OUT`"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import ray

sys.path.insert(0, str(Path(__file__).parent))


class Model:
    def __init__(self, model: str) -> None:
        import mlflow.pyfunc

        self._model = mlflow.pyfunc.load_model(model)

    def __call__(self, table: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"prediction": self._model.predict(table)})


class Network:
    def __init__(self, model: str) -> None:
        from images import session

        self._session = session(Path(model))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        from images import classify

        classes = [classify(self._session, content) for content in batch["bytes"]]
        read = [number for number, found in enumerate(classes) if found is not None]
        return {
            "file": np.array([Path(batch["path"][number]).name for number in read]),
            "class": np.array([classes[number] for number in read]),
        }


def main(kind: str, data: Path, model: Path, out: Path) -> None:
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # for its workers
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    if kind == "images":
        files = ray.data.read_binary_files(str(data), include_paths=True)
        scored = files.map_batches(Network, fn_constructor_args=[str(model)], concurrency=2, num_cpus=0.5)
    else:
        table = ray.data.read_csv(str(data)) if kind == "csv" else ray.data.read_parquet(str(data))
        scored = table.map_batches(
            Model, fn_constructor_args=[str(model)], concurrency=2, num_cpus=0.5, batch_format="pandas", batch_size=5000
        )
    scored.write_csv(str(out))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
