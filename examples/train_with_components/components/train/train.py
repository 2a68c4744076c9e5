"""Learn a model, and save it together with the transformations, so that it takes patients as they come."""

import argparse
import logging
import os
import warnings
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
logging.getLogger("mlflow").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer")  # no patient has a gap there

import joblib  # noqa: E402
import mlflow.sklearn  # noqa: E402
import pandas as pd  # noqa: E402
from mlflow.models import infer_signature  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402


def main(data: Path, target: str, transformations: Path, strength: float, max_iter: int | None, model: Path) -> None:
    table = pd.read_csv(data / "patients.csv")
    patients = table.drop(columns=target)
    columns = joblib.load(transformations / "columns.joblib")
    limit = {} if max_iter is None else {"max_iter": max_iter}
    learned = LogisticRegression(C=1 / strength, **limit).fit(columns.transform(patients), table[target])
    whole = make_pipeline(columns, learned)
    mlflow.sklearn.save_model(
        whole,
        str(model),
        signature=infer_signature(patients, whole.predict(patients)),
        pip_requirements=["scikit-learn"],
    )
    print(f"Learned from {len(table)} patients in {learned.n_iter_[0]} iterations")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--target", required=True)
    arguments.add_argument("--strength", type=float, required=True, help="of the regularization")
    arguments.add_argument("--max_iter", type=int, help="without it, scikit-learn's")
    for name in ("data", "transformations", "model"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    main(**vars(arguments.parse_args()))
