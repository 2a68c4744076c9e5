"""A file with rows, scored as anyone would: read it, predict, write it. Shared by the peers that go file by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd


def score_file(model: Any, path: Path, out: Path) -> int:
    """Predictions beside the input's name and row, as one CSV file; returns how many."""
    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    scored = pd.DataFrame({"file": path.name, "row": range(len(table)), "prediction": model.predict(table)})
    scored.to_csv(out / f"{path.stem}.csv", index=False)
    return len(scored)
