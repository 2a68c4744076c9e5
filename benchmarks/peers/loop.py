"""One process, one file after the other: the floor. `python loop.py KIND DATA MODEL OUT`"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pandas as pd


def main(kind: str, data: Path, model: Path, out: Path) -> None:
    files = sorted(data.iterdir())
    if kind == "images":
        from images import classify, session

        network = session(model)
        began = time.monotonic()
        scored = [(path.name, classify(network, path.read_bytes())) for path in files]
        pd.DataFrame(scored, columns=["file", "class"]).dropna().to_csv(out / "predictions.csv", index=False)
    else:
        import mlflow.pyfunc
        from tables import score_file

        loaded = mlflow.pyfunc.load_model(str(model))
        began = time.monotonic()
        for path in files:
            score_file(loaded, path, out)
    print(f"scoring {time.monotonic() - began:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
