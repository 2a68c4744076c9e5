"""Train a model that is not an MLflow model, and write images for it to score.

    python examples/script/train.py FOLDER

FOLDER/model/digits.joblib    which digit is on an image of 8 x 8 pixels
FOLDER/images                 100 PNG files, none of which the model was trained on
"""

import sys
from pathlib import Path

import joblib
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.svm import SVC

IMAGES = 100


def main(folder: Path) -> None:
    digits = load_digits()
    for name in ("model", "images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    model = SVC().fit(digits.data[:-IMAGES], digits.target[:-IMAGES])
    joblib.dump(model, folder / "model" / "digits.joblib")
    for number, pixels in enumerate(digits.images[-IMAGES:]):
        image = Image.fromarray((pixels * 15).astype(np.uint8))  # 0..16 as grey
        image.save(folder / "images" / f"image-{number:03}.png")
    print(f"Model: {folder / 'model'}\nData to score: {IMAGES} images in {folder / 'images'}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
