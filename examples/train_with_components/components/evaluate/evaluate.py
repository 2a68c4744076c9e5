"""Say how good the model is for patients that it did not learn from."""

import argparse
import json
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score


def main(data: Path, target: str, model: Path, results: Path) -> None:
    table = pd.read_csv(data / "patients.csv")
    truth, found = table[target], mlflow.pyfunc.load_model(str(model)).predict(table.drop(columns=target))
    metrics = {"patients": len(table), "accuracy": accuracy_score(truth, found), "f1": f1_score(truth, found)}
    (results / "metrics.json").write_text(json.dumps(metrics, indent=1))
    pd.DataFrame(confusion_matrix(truth, found)).to_csv(results / "confusion.csv", index_label="truth")
    print(metrics)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--target", required=True)
    for name in ("data", "model", "results"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    main(**vars(arguments.parse_args()))
