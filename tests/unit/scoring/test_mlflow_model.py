"""MLflow models: one predict() a mini-batch, and only the bad file is lost."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from PIL import Image

from prefect_batch.scoring import encoded, table_files
from prefect_batch.scoring.columns import OutputColumns
from prefect_batch.scoring.contract import Scored, ScoringSpec
from prefect_batch.scoring.errors import MiniBatchFailed
from prefect_batch.scoring.items import LocalItem
from prefect_batch.scoring.mlflow_model import MlflowScorer


class Doubler(mlflow.pyfunc.PythonModel):
    """Doubles column x; refuses negative numbers, as models refuse data, in the middle of predict()."""

    def predict(self, context, model_input, params=None):
        if (model_input["x"] < 0).any():
            raise ValueError("x is negative")
        return model_input["x"] * 2


class Scaled(mlflow.pyfunc.PythonModel):
    """Column x times the parameter `factor`."""

    def predict(self, context, model_input, params=None):
        return model_input["x"] * (params or {})["factor"]


class Mean(mlflow.pyfunc.PythonModel):
    """The mean of each image."""

    def predict(self, context, model_input, params=None):
        return np.asarray(model_input).mean(axis=(1, 2))


class MeanOfOne(mlflow.pyfunc.PythonModel):
    """The mean of one image, of any size."""

    def predict(self, context, model_input, params=None):
        return np.asarray(model_input).mean()


def save(
    folder: Path, model: mlflow.pyfunc.PythonModel, inputs: list[Any] | None, params: ParamSchema | None = None
) -> Path:
    signature = ModelSignature(inputs=Schema(inputs), params=params) if inputs else None
    mlflow.pyfunc.save_model(str(folder), python_model=model, signature=signature, pip_requirements=[])
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "doubler": save(folder / "doubler", Doubler(), [ColSpec("long", "x"), ColSpec("string", "id")]),
        "untyped": save(folder / "untyped", Doubler(), None),
        "scaled": save(
            folder / "scaled", Scaled(), [ColSpec("long", "x")], ParamSchema([ParamSpec("factor", "double", 10.0)])
        ),
        "mean": save(folder / "mean", Mean(), [TensorSpec(np.dtype("float32"), (-1, 4, 6))]),
        "any-image": save(folder / "any-image", MeanOfOne(), None),
    }


class Counted:
    """A scorer whose predict() calls are counted."""

    def __init__(self, model: Path, output_format: str = "csv", output_action: str = "append_row", **more: Any) -> None:
        spec = ScoringSpec(mlflow_model=str(model), output_format=output_format, output_action=output_action, **more)
        self.scorer = MlflowScorer(spec)
        self.calls: list[int] = []
        self.inner = self.scorer.model
        self.scorer.model = self

    def predict(self, data: Any, **options: Any) -> Any:
        self.calls.append(len(data))
        return self.inner.predict(data, **options)

    def __call__(self, *paths: Path, final: bool = True) -> Scored:
        items = [LocalItem(str(path), f"in/{path.name}", f"in/{path.name}") for path in paths]
        return self.scorer.score(items, final)


Write = Callable[..., list[Path]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes texts to 0.csv, 1.csv …; other names by keyword, with _ for the dot."""

    def files(*texts: str, **named: str) -> list[Path]:
        paths = []
        for name, text in [*((f"{n}.csv", text) for n, text in enumerate(texts)), *named.items()]:
            paths.append(tmp_path / name.replace("_", "."))
            paths[-1].write_text(text)
        return paths

    return files


def read(scored: Scored) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(encoded.header(scored.chunk.columns or []) + scored.chunk.data))


def test_one_predict_for_a_mini_batch_of_like_files(models: dict[str, Path], write: Write) -> None:
    score = Counted(models["doubler"])
    scored = score(*write("x,id\n1,a\n2,b\n", "id,x\nc,3\n", "x,id\n4.0,d\n"))
    assert score.calls == [4]
    assert scored.chunk.data.decode().splitlines() == [
        "0,2,in/0.csv",
        "1,4,in/0.csv",
        "0,6,in/1.csv",
        "0,8,in/2.csv",
    ]
    assert scored.chunk.columns == ["row", "prediction", "file_name"]
    assert (scored.failed, scored.errors) == (0, [])


@pytest.mark.parametrize("final", [True, False])
def test_only_a_file_that_cannot_be_read_is_lost(models: dict[str, Path], write: Write, final: bool) -> None:
    score = Counted(models["doubler"])
    paths = write("x,id\n1,a\n", "x,id\n1.5,a\n", "", "y\n1\n", x_txt="1", last_csv="x,id\n2,b\n")
    scored = score(*paths, paths[0].parent / "missing.csv", final=final)
    assert read(scored)["prediction"].tolist() == [2, 4]
    assert scored.failed == 5
    causes = {error.items[0]: error for error in scored.errors}
    assert list(causes) == ["in/1.csv", "in/2.csv", "in/3.csv", "in/x.txt", "in/missing.csv"]
    assert causes["in/1.csv"].message.startswith("column 'x', row 0: 1.5 does not fit")
    assert "column 'x', 'id' of the model's signature is not in the file" in causes["in/3.csv"].message
    assert causes["in/x.txt"].message.startswith("files ending in '.txt' are not known (known are .arrow .bmp .csv")
    assert causes["in/missing.csv"].error_type == "FileNotFoundError"
    assert score.calls == [2]


def test_a_file_that_predict_refuses_is_found(models: dict[str, Path], write: Write) -> None:
    score = Counted(models["doubler"])
    paths = write("x,id\n1,a\n", "x,id\n-1,a\n", "x,id\n3,a\n")
    with pytest.raises(MiniBatchFailed, match="x is negative") as caught:
        score(*paths, final=False)
    assert "in/1.csv" in str(caught.value) and caught.value.error_type == "ValueError"
    scored = score(*paths, final=True)
    assert read(scored)["prediction"].tolist() == [2, 6]
    assert [(error.items, error.error_type, error.message) for error in scored.errors] == [
        (["in/1.csv"], "ValueError", "x is negative")
    ]
    assert scored.failed == 1


def test_files_of_different_columns_are_not_mixed(models: dict[str, Path], write: Write) -> None:
    score = Counted(models["untyped"])
    scored = score(*write("x\n1\n", "x,y\n2,0\n", "x,y\n3,0\n", "x\n4\n"))
    assert score.calls == [1, 2, 1]
    assert read(scored)["prediction"].tolist() == [2, 4, 6, 8]
    assert read(scored)["file_name"].tolist() == [f"in/{number}.csv" for number in range(4)]


@pytest.mark.parametrize("mini_batch_size", [1, 2, 3, 4, 7])
def test_the_same_as_a_loop_over_files_for_every_mini_batch_size(
    cancer_model: Path, cancer_data: Path, mini_batch_size: int
) -> None:
    paths = sorted(cancer_data.iterdir())
    model = mlflow.pyfunc.load_model(str(cancer_model))
    expected = pd.concat(
        [
            pd.DataFrame({"prediction": model.predict(pd.read_csv(path))}).assign(
                row=lambda frame: range(len(frame)), file_name=f"in/{path.name}"
            )
            for path in paths
        ],
        ignore_index=True,
    )
    score = Counted(cancer_model)
    batches = [paths[start : start + mini_batch_size] for start in range(0, len(paths), mini_batch_size)]
    frames = [read(score(*batch)) for batch in batches]
    got = pd.concat(frames, ignore_index=True)
    pd.testing.assert_frame_equal(got, expected[["row", "prediction", "file_name"]], check_dtype=False)
    assert len(score.calls) == len(frames)


def test_a_header_alone_is_no_error_and_no_row(models: dict[str, Path], write: Write) -> None:
    score = Counted(models["doubler"])
    scored = score(*write("x,id\n", "x,id\n5,a\n", "x,id\n"))
    assert (scored.failed, scored.errors, scored.chunk.rows) == (0, [], 1)
    assert scored.chunk.data == b"0,10,in/1.csv\n"
    nothing = score(*write("x,id\n"))
    assert (nothing.failed, nothing.chunk.rows, nothing.chunk.data) == (0, 0, b"")
    assert score.calls == [1]


def test_azureml_has_base_names_commas_and_no_header(models: dict[str, Path], write: Write) -> None:
    scored = Counted(models["doubler"], "azureml")(*write("x,id\n1,a\n2,b\n"))
    assert scored.chunk.data == b"0,2,0.csv\n1,4,0.csv\n"
    assert scored.chunk.columns is None


def test_summary_only_counts_rows(models: dict[str, Path], write: Write) -> None:
    scored = Counted(models["doubler"], output_action="summary_only")(*write("x,id\n1,a\n2,b\n"))
    assert (scored.chunk.rows, scored.chunk.data) == (2, b"")


def test_a_file_name_that_is_not_unicode(models: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.csv")
    path.write_text("x,id\n1,a\n")
    assert Counted(models["doubler"])(path).chunk.data == b"0,2,in/caf\\udce9.csv\n"


class Fixed(Counted):
    """A scorer whose model gives what the test says."""

    def __init__(self, model: Path, result: Callable[[Any], Any]) -> None:
        super().__init__(model)
        self.result = result

    def predict(self, data: Any) -> Any:
        self.calls.append(len(data))
        return self.result(data)


@pytest.mark.parametrize(
    ("result", "columns", "first"),
    [
        (lambda x: x["x"].to_numpy(), ["row", "prediction", "file_name"], "0,1,in/0.csv"),
        (lambda x: x["x"].tolist(), ["row", "prediction", "file_name"], "0,1,in/0.csv"),
        (lambda x: x[["x"]], ["row", "x", "file_name"], "0,1,in/0.csv"),
        (
            lambda x: x.rename(columns={"x": "row", "id": "file_name"}),
            ["row_", "row", "file_name", "file_name_"],
            "0,1,a,in/0.csv",
        ),
        (lambda x: {"p": x["x"], "q": x["id"]}, ["row", "p", "q", "file_name"], "0,1,a,in/0.csv"),
        (
            lambda x: np.stack([x["x"], x["x"]], axis=1),
            ["row", "prediction_0", "prediction_1", "file_name"],
            "0,1,1,in/0.csv",
        ),
        (lambda x: [{"label": n} for n in x["x"]], ["row", "label", "file_name"], "0,1,in/0.csv"),
        (lambda x: x[["x"]].set_axis(range(100, 100 + len(x))), ["row", "x", "file_name"], "0,1,in/0.csv"),
    ],
)
def test_what_models_return(
    models: dict[str, Path], write: Write, result: Callable[[Any], Any], columns: list[str], first: str
) -> None:
    score = Fixed(models["doubler"], result)
    scored = score(*write("x,id\n1,a\n2,b\n", "x,id\n3,c\n"))
    assert scored.chunk.columns == columns
    assert scored.chunk.data.decode().splitlines()[0] == first
    assert (scored.chunk.rows, scored.failed, score.calls) == (3, 0, [3])


def test_a_model_with_another_number_of_rows_is_asked_file_by_file(models: dict[str, Path], write: Write) -> None:
    score = Fixed(models["doubler"], lambda x: [x["x"].sum()])
    scored = score(*write("x,id\n1,a\n2,b\n", "x,id\n3,c\n"))
    assert scored.chunk.data == b"0,3,in/0.csv\n0,3,in/1.csv\n"
    assert score.calls == [3, 2, 1]


def images(folder: Path, *sizes: tuple[int, int], mode: str = "L") -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(sizes))]
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        Image.new(mode, size, number + 1 if mode == "L" else (1, 2, 3, 4)[: len(mode)]).save(path)
    return paths


def test_images_of_a_tensor_signature_go_together(models: dict[str, Path], tmp_path: Path) -> None:
    score = Counted(models["mean"])
    scored = score(*images(tmp_path, (6, 4), (6, 4), (6, 4)))
    assert score.calls == [3]
    assert scored.chunk.columns == ["prediction", "file_name"]
    assert scored.chunk.data == b"1.0,in/0.png\n2.0,in/1.png\n3.0,in/2.png\n"


@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_an_image_that_does_not_fit_the_signature_is_not_bent_to_fit(
    models: dict[str, Path], tmp_path: Path, mode: str
) -> None:
    """4 channels of 4 x 6 pixels are as many numbers as four grey images, and are not four grey images."""
    scored = Counted(models["mean"])(*images(tmp_path, (6, 4), mode=mode))
    assert (scored.failed, scored.chunk.rows) == (1, 0)
    assert "does not fit the model's signature (-1, 4, 6)" in scored.errors[0].message


def test_a_bad_image_among_good_ones(models: dict[str, Path], tmp_path: Path) -> None:
    paths = images(tmp_path, (6, 4), (5, 5), (6, 4))
    (tmp_path / "not.png").write_text("not an image")
    scored = Counted(models["mean"])(*paths, tmp_path / "not.png")
    assert scored.chunk.data == b"1.0,in/0.png\n3.0,in/2.png\n"
    assert [(error.items, error.error_type) for error in scored.errors] == [
        (["in/1.png"], "Unreadable"),
        (["in/not.png"], "UnidentifiedImageError"),
    ]


def test_images_without_a_signature_go_one_by_one(models: dict[str, Path], tmp_path: Path) -> None:
    score = Counted(models["any-image"])
    scored = score(*images(tmp_path, (6, 4), (2, 2), (6, 4)))
    assert score.calls == [4, 2, 4]  # heights: an image, not a stack of one
    assert scored.chunk.data == b"1.0,in/0.png\n2.0,in/1.png\n3.0,in/2.png\n"


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="MLmodel"):
        MlflowScorer(ScoringSpec(mlflow_model=str(tmp_path)))


CSV = "id,x,note\n007,1,NA\n1.50,2,\n"


@pytest.mark.parametrize(
    ("asked", "columns", "first", "last"),
    [
        ({}, ["row", "prediction", "file_name"], "0,2,in/0.csv", "1,4,in/0.csv"),
        (
            {"input": ["note", "id"]},
            ["row", "note", "id", "prediction", "file_name"],
            "0,NA,007,2,in/0.csv",
            "1,,1.50,4,in/0.csv",
        ),
        (
            {"input": "all", "row": False},
            ["id", "x", "note", "prediction", "file_name"],
            "007,1,NA,2,in/0.csv",
            "1.50,2,,4,in/0.csv",
        ),
        ({"input": ["id"], "prediction": "p", "row": False, "file": False}, ["id", "p"], "007,2", "1.50,4"),
        ({"input": [], "file": False}, ["row", "prediction"], "0,2", "1,4"),
    ],
)
def test_input_columns_beside_the_prediction(
    models: dict[str, Path], write: Write, asked: dict[str, Any], columns: list[str], first: str, last: str
) -> None:
    scored = Counted(models["doubler"], output_columns=asked)(*write(CSV))
    assert scored.chunk.columns == columns
    assert scored.chunk.data.decode().splitlines() == [first, last]


def test_a_key_of_several_files_in_one_predict(models: dict[str, Path], write: Write) -> None:
    score = Counted(models["doubler"], output_columns={"input": ["id"]})
    scored = score(*write(CSV, "id,x\n,3\n", "x,id\n5,z\n"))
    assert score.calls == [4]
    assert [line.split(",")[1] for line in scored.chunk.data.decode().splitlines()] == ["007", "1.50", "", "z"]


def test_a_file_without_a_carried_column_fails_alone(models: dict[str, Path], write: Write) -> None:
    scored = Counted(models["doubler"], output_columns={"input": ["note"]})(*write(CSV, "id,x\na,3\n", CSV))
    assert (scored.failed, scored.chunk.rows) == (1, 4)
    assert scored.errors[0].items == ["in/1.csv"]
    assert scored.errors[0].message == "column 'note' of output_columns is not in the file"


def test_carried_columns_of_a_piece_keep_their_rows(models: dict[str, Path], write: Write) -> None:
    (path,) = write(CSV)
    scorer = MlflowScorer(ScoringSpec(mlflow_model=str(models["doubler"]), output_columns={"input": ["id"]}))
    scored = scorer.score([LocalItem(str(path), "big.csv rows 70-71", "big.csv", 70)], True)
    assert scored.chunk.data == b"70,007,2,big.csv\n71,1.50,4,big.csv\n"


def test_a_model_with_another_number_of_rows_carries_nothing(models: dict[str, Path], write: Write) -> None:
    score = Fixed(models["doubler"], lambda x: [x["x"].sum()])
    score.scorer.asked = OutputColumns(["id"])
    scored = score(*write(CSV), final=False)
    assert (scored.failed, scored.chunk.rows) == (1, 0)
    assert scored.errors[0].message.startswith("the model gave 1 rows for 2: there is no telling which input columns")


@pytest.mark.parametrize("name", ["x.csv.gz", "x.tsv", "x.tsv.gz", "x.jsonl", "x.jsonl.gz", "x.parquet", "x.arrow"])
def test_every_table_format_is_scored_and_joined_alike(models: dict[str, Path], tmp_path: Path, name: str) -> None:
    frame, path = pd.DataFrame({"x": [1, 2], "id": ["007", "b"]}), tmp_path / name
    if name.startswith("x.jsonl"):
        frame.to_json(path, orient="records", lines=True)
    elif name == "x.parquet":
        frame.to_parquet(path)
    elif name == "x.arrow":
        frame.to_feather(path, compression="uncompressed")
    else:
        frame.to_csv(path, index=False, sep="\t" if "tsv" in name else ",")
    scored = Counted(models["doubler"], "jsonl", output_columns={"input": ["id"]})(path)
    assert [json.loads(line) for line in scored.chunk.data.decode().splitlines()] == [
        {"row": 0, "id": "007", "prediction": 2, "file_name": f"in/{name}"},
        {"row": 1, "id": "b", "prediction": 4, "file_name": f"in/{name}"},
    ]


@pytest.fixture
def long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Any]], Path]:
    """A compressed file with these x that is read in chunks of three rows at first, then of fewer."""
    monkeypatch.setattr(table_files, "CHUNK_BYTES", 100)
    monkeypatch.setattr(table_files, "_FIRST_ROWS", 3)

    def write(numbers: list[Any]) -> Path:
        text = "x,id\n" + "".join(f"{x},k{n}\n" for n, x in enumerate(numbers))
        (tmp_path / "long.csv.gz").write_bytes(gzip.compress(text.encode()))
        return tmp_path / "long.csv.gz"

    return write


def test_a_long_compressed_file_is_predicted_in_chunks(
    models: dict[str, Path], write: Write, long_file: Callable[[list[Any]], Path]
) -> None:
    score = Counted(models["doubler"], output_columns={"input": ["id"]})
    scored = score(*write("x,id\n8,a\n"), long_file([*range(40)]), *write(last_csv="x,id\n9,b\n"))
    assert len(score.calls) > 10 and max(score.calls) == 3
    assert read(scored)["prediction"].tolist() == [16, *range(0, 80, 2), 18]
    assert read(scored)["row"].tolist() == [0, *range(40), 0]
    assert read(scored)["id"].tolist() == ["a", *(f"k{n}" for n in range(40)), "b"]


def test_one_bad_chunk_fails_all_of_a_long_file(
    models: dict[str, Path], write: Write, long_file: Callable[[list[Any]], Path]
) -> None:
    score = Counted(models["doubler"])
    scored = score(long_file([*range(30), 1.5, *range(9)]), *write("x,id\n9,b\n"), final=False)
    assert scored.chunk.data == b"0,18,in/0.csv\n"
    assert [(error.items, error.message) for error in scored.errors] == [
        (["in/long.csv.gz"], "column 'x', row 30: 1.5 does not fit the model's signature, which says long")
    ]
    path = long_file([*range(30), -1, *range(9)])
    with pytest.raises(MiniBatchFailed, match=r"in/long.csv.gz: x is negative"):
        score(path, final=False)
    scored = score(path, *write("x,id\n9,b\n"), final=True)
    assert (scored.failed, scored.chunk.data) == (1, b"0,18,in/0.csv\n")


def test_parameters_reach_the_model(models: dict[str, Path], write: Write) -> None:
    paths = write("x\n1\n2\n")
    assert read(Counted(models["scaled"])(*paths))["prediction"].tolist() == [10, 20]
    assert read(Counted(models["scaled"], params={"factor": 0.5})(*paths))["prediction"].tolist() == [0.5, 1]


def test_an_image_has_no_columns(models: dict[str, Path], tmp_path: Path) -> None:
    paths = images(tmp_path, (6, 4))
    assert Counted(models["mean"], output_columns={"input": "all", "prediction": "m"})(*paths).chunk.columns == [
        "m",
        "file_name",
    ]
    assert Counted(models["mean"], output_columns={"file": False})(*paths).chunk.data == b"1.0\n"
    scored = Counted(models["mean"], output_columns={"input": ["id"]})(*paths)
    assert (scored.failed, scored.errors[0].message) == (1, "an image has no column 'id' (output_columns)")
