"""A scoring script: which digit is on each image."""

import os
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from PIL import Image

model = None


def init() -> None:
    """Called once in each scoring process: load what is slow to load."""
    global model
    # AZUREML_MODEL_DIR holds one thing: the deployment's model, here the folder `model`.
    model = joblib.load(Path(os.environ["AZUREML_MODEL_DIR"]) / "model" / "digits.joblib")


def run(mini_batch: list[str]) -> pd.DataFrame:
    """Called with the paths of up to mini_batch_size files; gives one row for each file that could be scored."""
    rows = []
    for path in mini_batch:
        try:
            pixels = np.asarray(Image.open(path)) / 15
        except OSError as error:  # not an image: no row, so that this file counts as failed and the others do not
            print(f"{path}: {error}")
            continue
        rows.append({"file": Path(path).name, "digit": model.predict(pixels.reshape(1, -1))[0]})
    return pd.DataFrame(rows, columns=["file", "digit"])
