"""The examples of pipelines on real data: both ways of writing one give the numbers of a plain loop."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import joblib
import mlflow.pyfunc
import pages
import pandas as pd
import pytest
from endpoints import Ended, Endpoints

MODES = ("append", "prediction_only")


def example(name: str, folder: Path) -> Path:
    """A copy of an example of one's own."""
    return Path(shutil.copytree(pages.ROOT / "examples" / name, folder / name))


def outputs(ended: Ended) -> dict[str, Path]:
    assert ended.state == "Completed", ended.message
    return {name: Path(place) for name, place in ended.summary["outputs"].items()}


class Scoring(NamedTuple):
    """An endpoint with the example's deployments, and what is right."""

    endpoint: str
    data: Path
    predictions: list[int]


@pytest.fixture(scope="module")
def scoring(endpoints: Endpoints, heart_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Scoring:
    folder = example("score_with_preprocessing", tmp_path_factory.mktemp("heart"))
    subprocess.run([sys.executable, folder / "train.py", "--data", heart_data / "train"], check=True)
    for name in ("deployment-flow", "deployment-model", "deployment"):
        endpoints.deploy(folder / f"{name}.yml", "heart-both-ways")
    columns = joblib.load(folder / "src" / "transformations" / "columns.joblib")
    model = mlflow.pyfunc.load_model(str(folder / "model"))
    data = heart_data / "unlabeled"
    predictions = [int(one) for path in sorted(data.iterdir()) for one in model.predict(columns.transform(read(path)))]
    return Scoring("heart-both-ways", data, predictions)


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


@pytest.mark.parametrize("mode", MODES)
def test_both_ways_of_scoring_give_the_numbers_of_a_plain_loop(endpoints: Endpoints, scoring: Scoring, mode: str):
    written: list[bytes] = []
    for deployment in ("from-components", "from-flow"):
        inputs = {"input_data": str(scoring.data), "score_mode": mode}
        ended = endpoints.call(scoring.endpoint, deployment=deployment, inputs=inputs)
        scores = outputs(ended)["scores"] / "scores.csv"
        assert read(scores)["prediction"].tolist() == scoring.predictions
        written.append(scores.read_bytes())
    assert written[0] == written[1]
    rows = pd.concat(pd.read_csv(path, dtype=str) for path in sorted(scoring.data.iterdir()))
    left = pd.read_csv(scores, dtype=str).drop(columns="prediction")
    if mode == "append":
        assert left.to_csv(index=False) == rows.to_csv(index=False)
    else:
        assert left.empty and len(rows) == len(scoring.predictions)


def test_the_default_of_an_input_counts_and_the_step_before_it_is_taken_again(
    endpoints: Endpoints, scoring: Scoring, tmp_path: Path
):
    folder = tmp_path / "patients"
    shutil.copytree(scoring.data, folder)
    (folder / "heart-unlabeled-2.csv").unlink()  # the same data has been scored, and that job's output would be taken
    given = {"input_data": str(folder)}
    first = endpoints.call(scoring.endpoint, inputs=given)
    second = endpoints.call(scoring.endpoint, inputs={**given, "score_mode": "prediction_only"})
    third = endpoints.call(scoring.endpoint, inputs=given, settings={"force_rerun": True})
    assert first.record["inputs"]["score_mode"] == "append"
    taken = [{step["name"]: step["reused_from"] for step in ended.summary["steps"]} for ended in (first, second, third)]
    nothing = {"prepare": None, "score": None}
    assert taken == [nothing, {"prepare": first.id, "score": None}, nothing]
    (folder / "heart-unlabeled-3.csv").unlink()
    fourth = endpoints.call(scoring.endpoint, inputs=given)
    assert [step["reused_from"] for step in fourth.summary["steps"]] == [None, None]
    assert len(read(outputs(fourth)["scores"] / "scores.csv")) == 200


def test_train_and_deploy_the_trained_model(
    endpoints: Endpoints, heart_data: Path, tmp_path: Path, cli: Callable[..., object]
) -> None:
    folder = example("train_with_components", tmp_path)
    cli("component", "create", "-f", folder / "components" / "evaluate" / "evaluate.yml")
    endpoints.deploy(folder / "deployment.yml", "heart-trained")
    given = {"input_data": str(heart_data / "train"), "eval_size": 0.2}
    ended = endpoints.call("heart-trained", inputs=given)
    assert {step["name"]: step["state"] for step in ended.summary["steps"]} == dict.fromkeys(
        ("prepare", "train", "evaluate"), "Completed"
    )
    there = outputs(ended)
    metrics = json.loads((there["evaluation_results"] / "metrics.json").read_text())
    assert metrics["patients"] == 61 and metrics["accuracy"] > 0.75
    model, data = mlflow.pyfunc.load_model(str(there["model"])), heart_data / "unlabeled"
    columns = joblib.load(there["transformations"] / "columns.joblib")
    assert columns.transform(read(heart_data / "train" / "heart.csv")).shape[0] == 303

    (folder / "trained.yml").write_text(f"name: trained\nendpoint_name: unused\ntype: model\nmodel: {there['model']}\n")
    endpoints.deploy(folder / "trained.yml", "heart-trained", set_default=False)
    scored = endpoints.run("heart-trained", data, deployment="trained")
    found = read(scored.output / "predictions.csv")["prediction"].tolist()
    assert found == [one for path in sorted(data.iterdir()) for one in model.predict(read(path)).tolist()]

    with_limit = endpoints.call("heart-trained", inputs={**given, "max_iter": 50})
    taken = {step["name"]: bool(step["reused_from"]) for step in with_limit.summary["steps"]}
    assert taken == {"prepare": True, "train": False, "evaluate": False}


def test_a_value_out_of_bounds_starts_nothing(endpoints: Endpoints, scoring: Scoring):
    ended = endpoints.call(scoring.endpoint, inputs={"input_data": str(scoring.data), "score_mode": "prepend"})
    assert ended.state == "Failed" and not (ended.folder / "steps").exists()
    assert "inputs.score_mode" in ended.message and "append, prediction_only" in ended.message


def test_the_diamond_with_a_side_that_fails(endpoints: Endpoints, tmp_path: Path):
    endpoints.deploy(example("diamond", tmp_path) / "deployment.yml", "heart-diamond")
    ended = endpoints.call("heart-diamond", inputs={"fail": "left", "seconds": 0.2})
    states = {step["name"]: step["state"] for step in ended.summary["steps"]}
    assert ended.state == "Failed" and "'left'" in ended.message and "left: told to fail" in ended.message
    assert states == {"split": "Completed", "left": "Failed", "right": "Completed", "join": "NotRun"}
