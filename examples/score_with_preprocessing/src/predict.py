"""Step 2: score the prepared rows, and write the scores as one table."""

import argparse
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import pandas as pd


def predict(prepared: str | PathLike[str], model: str | PathLike[str]) -> list[int]:
    """The model's predictions for all rows, file by file."""
    import mlflow.pyfunc  # slow to import, and the Python flow does without it

    loaded = mlflow.pyfunc.load_model(str(model))
    tables = [pd.read_csv(path) for path in sorted(Path(prepared).glob("*.csv"))]
    return [int(prediction) for table in tables for prediction in loaded.predict(table)]


def write_scores(
    data: str | PathLike[str], predictions: Sequence[int], scores: str | PathLike[str], score_mode: str
) -> None:
    """Write scores.csv: the predictions, and with score_mode `append` the rows that they are for in front of them."""
    rows = pd.concat([pd.read_csv(path, dtype=str) for path in sorted(Path(data).glob("*.csv"))], ignore_index=True)
    table = rows if score_mode == "append" else pd.DataFrame(index=rows.index)
    table.assign(prediction=list(predictions)).to_csv(Path(scores) / "scores.csv", index=False)
    print(f"{len(rows)} rows scored, of which {sum(predictions)} are ill")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "prepared", "model", "scores"):
        arguments.add_argument(f"--{name}", required=True, help="a folder")
    arguments.add_argument("--score_mode", choices=["append", "prediction_only"], required=True)
    given = arguments.parse_args()
    write_scores(given.data, predict(given.prepared, given.model), given.scores, given.score_mode)
