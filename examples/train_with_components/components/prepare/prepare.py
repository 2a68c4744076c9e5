"""Split the patients into those to learn from and those to test with, and learn how to transform columns."""

import argparse
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def main(data: Path, target: str, eval_size: float, train: Path, test: Path, transformations: Path) -> None:
    table = pd.concat(pd.read_csv(path) for path in sorted(data.glob("*.csv")))
    if target not in table:
        raise SystemExit(f"No column {target!r} in {data}: it has {', '.join(table)}")
    learned, kept = train_test_split(table, test_size=eval_size, random_state=0)
    learned.to_csv(train / "patients.csv", index=False)
    kept.to_csv(test / "patients.csv", index=False)

    patients = learned.drop(columns=target)
    texts = list(patients.select_dtypes(exclude="number"))
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), texts),
        (StandardScaler(), [column for column in patients if column not in texts]),
    )
    joblib.dump(columns.fit(patients), transformations / "columns.joblib")
    print(f"{len(learned)} patients to learn from, {len(kept)} to test with")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--target", required=True)
    arguments.add_argument("--eval_size", type=float, required=True)
    for name in ("data", "train", "test", "transformations"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    main(**vars(arguments.parse_args()))
