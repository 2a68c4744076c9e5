"""Learn what the pipeline needs: this stands for your training.

    python train.py [--data data/train] [--folder .]

FOLDER/src/transformations    a scikit-learn ColumnTransformer; beside the scripts, so that it is copied with them
FOLDER/model                  an MLflow model that takes what the transformer gives
"""

import argparse
import logging
import os
import shutil
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
logging.getLogger("mlflow").setLevel(logging.ERROR)

import joblib  # noqa: E402
import mlflow.sklearn  # noqa: E402
import pandas as pd  # noqa: E402
from mlflow.models import infer_signature  # noqa: E402
from sklearn.compose import make_column_transformer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

HERE = Path(__file__).resolve().parent


def main(data: Path, folder: Path) -> None:
    table = pd.concat(pd.read_csv(path) for path in sorted(data.glob("*.csv")))
    patients, target = table.drop(columns="target"), table["target"]

    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["thal"]),
        (StandardScaler(), [column for column in patients if column != "thal"]),
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    prepared = columns.fit_transform(patients)
    model = LogisticRegression().fit(prepared, target)

    transformations = folder / "src" / "transformations"
    transformations.mkdir(parents=True, exist_ok=True)
    joblib.dump(columns, transformations / "columns.joblib")
    shutil.rmtree(folder / "model", ignore_errors=True)
    mlflow.sklearn.save_model(
        model,
        str(folder / "model"),
        signature=infer_signature(prepared, model.predict(prepared)),
        pip_requirements=["scikit-learn"],
    )
    print(f"Learned from {len(table)} patients: {transformations} and {folder / 'model'}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=HERE / "data" / "train", help="CSV files with the target")
    arguments.add_argument("--folder", type=Path, default=HERE)
    given = arguments.parse_args()
    main(given.data, given.folder)
