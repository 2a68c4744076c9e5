"""Step 1: turn the rows of CSV files into what the model takes."""

import argparse
from os import PathLike
from pathlib import Path

import joblib
import pandas as pd


def prepare(data: str | PathLike[str], transformations: str | PathLike[str], prepared: str | PathLike[str]) -> None:
    """Write one prepared file for each file, under its name."""
    columns = joblib.load(Path(transformations) / "columns.joblib")
    for path in sorted(Path(data).glob("*.csv")):
        table = columns.transform(pd.read_csv(path))
        table.to_csv(Path(prepared) / path.name, index=False)
        print(f"{path.name}: {len(table)} rows")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "transformations", "prepared"):
        arguments.add_argument(f"--{name}", required=True, help="a folder")
    prepare(**vars(arguments.parse_args()))
