"""Train a small model and write data for it to score: what your own training would leave.

    python examples/demo/train.py FOLDER

FOLDER/model    an MLflow model: benign or malignant, from 30 measurements of a tumour
FOLDER/data     150 CSV files of two patients each, none of whom the model was trained on

What is there already stays as it is.
"""

import logging
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
logging.getLogger("mlflow").setLevel(logging.ERROR)

import mlflow.sklearn  # noqa: E402
from mlflow.models import infer_signature  # noqa: E402
from sklearn.datasets import load_breast_cancer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

FILES, ROWS = 150, 2


def main(folder: Path) -> None:
    bunch = load_breast_cancer(as_frame=True)
    measurements, diagnosis = bunch.data, bunch.target_names[bunch.target]
    known = len(measurements) - FILES * ROWS

    if not (folder / "model" / "MLmodel").exists():
        shutil.rmtree(folder / "model", ignore_errors=True)
        model = make_pipeline(StandardScaler(), LogisticRegression())
        model.fit(measurements[:known], diagnosis[:known])
        right = model.score(measurements[known:], diagnosis[known:])
        print(f"Trained on {known} patients; right for {right:.1%} of {FILES * ROWS} others.")
        mlflow.sklearn.save_model(
            model,
            str(folder / "model"),
            # The signature says which columns, of which types, the model takes: batch scoring reads the CSVs by it.
            signature=infer_signature(measurements, model.predict(measurements)),
            pip_requirements=["scikit-learn"],
        )

    data = folder / "data"
    if len(list(data.glob("*.csv"))) != FILES:
        data.mkdir(parents=True, exist_ok=True)
        for number in range(FILES):
            start = known + number * ROWS
            measurements[start : start + ROWS].to_csv(data / f"patients-{number:03}.csv", index=False)

    print(f"Model: {folder / 'model'}")
    print(f"Data to score: {FILES} CSV files of {ROWS} patients each in {data}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
