"""What the contenders score: the same files and models for all, made once and kept."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLUMNS = [f"x{number:02d}" for number in range(20)]
SIDE, CLASSES = 32, 10
"""Of an image, in pixels; and what it may show."""


@dataclass(frozen=True)
class Workload:
    """Files to score and the model that does."""

    name: str
    title: str
    kind: str
    """`csv`, `parquet` or `images`."""
    make: Callable[[Path, float], None]
    """Fills a folder; the second argument is the share of the full size, for a trial."""
    mini_batch_size: str
    """Of our deployment: what a user would write for such files."""


def numbers(rows: int, seed: int) -> Any:
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(seed)
    return pd.DataFrame(random.normal(size=(rows, len(COLUMNS))).round(6), columns=COLUMNS)


def _csv_files(count: int, rows: int) -> Callable[[Path, float], None]:
    def make(folder: Path, share: float) -> None:
        for number in range(max(round(count * share), 2)):
            numbers(rows, number).to_csv(folder / f"part-{number:05d}.csv", index=False)

    return make


def _parquet_files(count: int, rows: int) -> Callable[[Path, float], None]:
    def make(folder: Path, share: float) -> None:
        for number in range(max(round(count * share), 2)):
            numbers(rows, number).to_parquet(folder / f"part-{number:05d}.parquet", index=False)

    return make


def _one_csv(rows: int) -> Callable[[Path, float], None]:
    def make(folder: Path, share: float) -> None:
        numbers(max(round(rows * share), 1000), 0).to_csv(folder / "all.csv", index=False)

    return make


def _uneven_parquet_files(count: int, median: int, sigma: float) -> Callable[[Path, float], None]:
    """Files whose numbers of rows are log-normal: most small, a few large."""

    def make(folder: Path, share: float) -> None:
        import numpy as np

        rows = np.random.default_rng(5).lognormal(np.log(median), sigma, size=max(round(count * share), 2))
        for number, many in enumerate(rows):
            numbers(max(int(many), 1), number).to_parquet(folder / f"part-{number:05d}.parquet", index=False)

    return make


def _images(count: int, corrupt: float) -> Callable[[Path, float], None]:
    """Small PNG images of noise; of some only the first half is there."""

    def make(folder: Path, share: float) -> None:
        import io

        import numpy as np
        from PIL import Image

        random = np.random.default_rng(6)
        many = max(round(count * share), 100)
        broken = set(random.choice(many, round(many * corrupt), replace=False).tolist())
        for number in range(many):
            stream = io.BytesIO()
            Image.fromarray(random.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)).save(stream, "png")
            content = stream.getvalue()
            kept = len(content) // 2 if number in broken else len(content)
            (folder / f"image-{number:05d}.png").write_bytes(content[:kept])

    return make


WORKLOADS = [
    Workload("files", "100 CSV files of 5,000 rows", "csv", _csv_files(100, 5000), "10"),
    Workload("parquet", "100 Parquet files of 5,000 rows", "parquet", _parquet_files(100, 5000), "10"),
    Workload("small", "1,000 CSV files of five rows", "csv", _csv_files(1000, 5), "10"),
    Workload("large", "one CSV file of 1,000,000 rows", "csv", _one_csv(1_000_000), "16MB"),
    Workload(
        "uneven",
        "200 Parquet files of log-normal size",
        "parquet",
        _uneven_parquet_files(200, 1000, 1.5),
        "10",
    ),
    Workload("images", "5,000 PNG images, 1 % corrupt", "images", _images(5000, 0.01), "10"),
]


def made_once(path: Path, fill: Callable[[Path], None]) -> Path:
    """The folder of that path, filled at the first time; what was broken off is begun anew."""
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        fill(temporary)
        temporary.rename(path)
    return path


def made(folder: Path, workload: Workload, share: float) -> Path:
    """The folder with a workload's files."""
    return made_once(folder / f"{workload.name}-{share:g}", lambda path: workload.make(path, share))


def one_csv_file(folder: Path, rows: int) -> Path:
    """A folder with one CSV file of so many rows."""
    return made_once(folder / f"rows-{rows}", lambda path: numbers(rows, 0).to_csv(path / "all.csv", index=False))


def boosting_model(folder: Path, trees: int = 100) -> Path:
    """An MLflow model: gradient boosting over COLUMNS."""
    import mlflow.sklearn
    import numpy as np
    from mlflow.models import infer_signature
    from sklearn.ensemble import HistGradientBoostingRegressor

    path = folder / f"boosting-{trees}"
    if path.exists():
        return path
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns of cloudpickle; the model is our own
    x = numbers(20_000, 1)
    y = x["x00"] * x["x01"] + x["x02"] ** 2 + np.random.default_rng(2).normal(size=len(x))
    model = HistGradientBoostingRegressor(max_iter=trees, early_stopping=False, random_state=0).fit(x, y)
    mlflow.sklearn.save_model(
        model,
        str(path),
        signature=infer_signature(x, model.predict(x)),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",  # the default refuses trees
    )
    return path


def image_model(folder: Path) -> Path:
    """A folder with `model.onnx`: a small convolutional network, untrained, as only its arithmetic matters."""
    return made_once(folder / "images-model", _save_image_model)


def _save_image_model(folder: Path) -> None:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.default_rng(3)

    def weights(name: str, *shape: int) -> Any:
        return numpy_helper.from_array((random.normal(size=shape) * 0.1).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "images",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", CLASSES])],
        [weights("w1", 16, 3, 3, 3), weights("w2", 32, 16, 3, 3), weights("w3", 32, CLASSES)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, str(folder / "model.onnx"))
    (folder / "labels.json").write_text(json.dumps([f"class-{number}" for number in range(CLASSES)]))
