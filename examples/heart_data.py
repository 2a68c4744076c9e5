"""Write tables of made-up patients, in the shape of the well-known data on heart disease.

    python examples/heart_data.py FOLDER

FOLDER/train/heart.csv                        303 patients, of whom it is known (target) whether they are ill
FOLDER/unlabeled/heart-unlabeled-0.csv ...    303 others, without the target, in four files

The same numbers each time.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

PATIENTS = 303
FILES = (0, 100, 200, 300, 303)  # where each file of unlabeled patients begins


def main(folder: Path) -> None:
    train, unlabeled = folder / "train", folder / "unlabeled"
    for made in (train, unlabeled):
        made.mkdir(parents=True, exist_ok=True)
    patients(seed=1).to_csv(train / "heart.csv", index=False)
    others = patients(seed=2).drop(columns="target")
    for number, (start, stop) in enumerate(pairwise(FILES)):
        others[start:stop].to_csv(unlabeled / f"heart-unlabeled-{number}.csv", index=False)
    print(f"Patients to learn from: {train}\nPatients to score: {unlabeled}")


def patients(seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": random.normal(54, 9, PATIENTS).round().clip(29, 77).astype(int),
            "sex": random.binomial(1, 0.68, PATIENTS),
            "cp": random.choice([1, 2, 3, 4], PATIENTS, p=[0.08, 0.16, 0.28, 0.48]),
            "trestbps": random.normal(132, 17, PATIENTS).round().clip(94, 200).astype(int),
            "chol": random.normal(247, 51, PATIENTS).round().clip(126, 564).astype(int),
            "fbs": random.binomial(1, 0.15, PATIENTS),
            "restecg": random.choice([0, 1, 2], PATIENTS, p=[0.5, 0.01, 0.49]),
            "thalach": random.normal(150, 23, PATIENTS).round().clip(71, 202).astype(int),
            "exang": random.binomial(1, 0.33, PATIENTS),
            "oldpeak": random.exponential(1.0, PATIENTS).round(1).clip(0, 6.2),
            "slope": random.choice([1, 2, 3], PATIENTS, p=[0.47, 0.46, 0.07]),
            "ca": random.choice([0, 1, 2, 3], PATIENTS, p=[0.59, 0.21, 0.13, 0.07]),
            "thal": random.choice(["normal", "reversible", "fixed"], PATIENTS, p=[0.55, 0.39, 0.06]),
        }
    )
    risk = (
        0.04 * (table["age"] - 54)
        + 0.9 * (table["cp"] == 4)
        + 0.8 * table["oldpeak"]
        + 1.1 * table["ca"]
        + 1.4 * (table["thal"] == "reversible")
        - 0.02 * (table["thalach"] - 150)
    )
    ill = risk + random.normal(0, 1, PATIENTS) > 3
    return table.assign(target=ill.astype(int))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
