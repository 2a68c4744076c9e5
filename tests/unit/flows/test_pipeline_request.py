"""A call to a pipeline deployment: what it means, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.compute import builtin_local
from prefect_batch.blocks.interface import Interface
from prefect_batch.blocks.pipeline_deployment import PipelineDeployment
from prefect_batch.flows.pipeline_call import check_inputs, check_outputs
from prefect_batch.flows.pipeline_job import DataValue, PipelineJob, load_job
from prefect_batch.flows.pipeline_request import make_pipeline_job
from prefect_batch.scoring.errors import AlreadyExists, BatchError, InvalidDocument, NotFound
from prefect_batch.scoring.storage import Folder

INTERFACE = Interface.model_validate(
    {
        "inputs": {
            "data": {"type": "uri_folder"},
            "table": {"type": "uri_file", "optional": True},
            "model": {"type": "mlflow_model", "optional": True},
            "score_mode": {"type": "string", "enum": ["append", "prediction_only"], "default": "append"},
            "folds": {"type": "integer", "min": 1, "max": 9, "default": 3},
            "rate": {"type": "number", "optional": True},
            "exact": {"type": "boolean", "default": False},
            "note": {"type": "string", "optional": True},
        },
        "outputs": {"scores": {}, "report": {"type": "uri_file"}},
    }
)


def literals(**given: Any) -> dict[str, Any]:
    values = check_inputs(INTERFACE, {"data": "x", **given})
    return {name: value for name, value in values.items() if isinstance(value, (str, bool, int, float))}


DEFAULTS = {"score_mode": "append", "folds": 3, "exact": False}


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({}, {}),
        ({"folds": 5, "rate": 1, "exact": True}, {"folds": 5, "rate": 1.0, "exact": True}),
        ({"folds": 5.0}, {"folds": 5}),
        ({"note": ""}, {"note": ""}),
        ({"note": None, "folds": None}, {}),
        ({"score_mode": {"type": "string", "default": "prediction_only"}}, {"score_mode": "prediction_only"}),
        ({"score_mode": {"default": "append"}, "rate": {"value": 2.5}}, {"rate": 2.5}),
        ({"rate": {"type": "float", "default": 1}}, {"rate": 1.0}),
        ({"note": {"JobInputType": "Literal", "Value": "007"}}, {"note": "007"}),
        ({"folds": {"jobInputType": "Literal", "value": "7"}}, {"folds": 7}),
        ({"exact": {"JobInputType": "Literal", "Value": "True"}}, {"exact": True}),
    ],
)
def test_literal_values(given: dict[str, Any], values: dict[str, Any]) -> None:
    found = literals(**given)
    assert found == DEFAULTS | values
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in (DEFAULTS | values).items()
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"score_mod": "append"}, r"inputs\.score_mod is no input of this deployment: did you mean score_mode\?"),
        ({"zzz": 1}, r"inputs\.zzz is no input of this deployment: it has data, table, "),
        (
            {"zzz": 1, "folds": 0, "data": None},
            r"zzz is no input .*; inputs\.data is missing: .*; inputs\.folds: 0 is not",
        ),
        ({"folds": "5"}, r"inputs\.folds: '5' is not a whole number"),
        ({"rate": float("nan")}, r"inputs\.rate: nan is not a number"),
        ({"rate": float("inf")}, r"inputs\.rate: inf is not a number"),
        ({"folds": 12}, r"inputs\.folds: 12 is not a whole number from 1 to 9"),
        ({"folds": True}, r"inputs\.folds: True is not a whole number"),
        ({"exact": "yes"}, r"inputs\.exact: 'yes' is not true or false"),
        ({"note": 5}, r"inputs\.note: 5 is not a text"),
        ({"score_mode": "both"}, r"inputs\.score_mode: 'both' is not one of append, prediction_only"),
        ({"folds": {"type": "string", "default": 3}}, r"inputs\.folds: type 'string' was given, .* of type integer"),
        ({"folds": {"path": "x"}}, r"inputs\.folds: .* is not understood: give a whole number from 1 to 9"),
        ({"folds": {"JobInputType": "Literal", "Value": "x"}}, r"inputs\.folds: 'x' is not a whole number"),
        ({"data": None}, r"inputs\.data is missing: give the path of a folder"),
        ({"data": ["x", "y"]}, r"inputs\.data: .* give one path"),
        ({"data": 5}, r"inputs\.data: 5 is not understood"),
        ({"data": {"path": "x", "type": "uri_file"}}, r"inputs\.data: type 'uri_file' was given, .* has uri_folder"),
        ({"data": {"path": ""}}, r"inputs\.data: path"),
        ({"data": {"path": "x", "include": "*.csv"}}, r"include is not a known key"),
    ],
)
def test_inputs_that_do_not_fit(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDocument, match=message):
        literals(**given)


def test_pointers_in_all_spellings() -> None:
    for given in ("x", {"path": "x"}, {"path": "x", "type": "UriFolder"}, {"JobInputType": "UriFolder", "Uri": "x"}):
        value = check_inputs(INTERFACE, {"data": given})["data"]
        assert not isinstance(value, (str, bool, int, float)) and value.path == "x"
    (scores,) = check_outputs(
        INTERFACE, {"scores": {"JobOutputType": "UriFolder", "Uri": "y"}, "report": None}
    ).values()
    assert scores.path == "y"
    with pytest.raises(InvalidDocument, match=r"outputs\.score is no output of this deployment: did you mean scores\?"):
        check_outputs(INTERFACE, {"score": "y"})
    with pytest.raises(InvalidDocument, match=r"outputs\.report: type 'uri_folder' was given"):
        check_outputs(INTERFACE, {"report": {"path": "y", "type": "uri_folder"}})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.csv").write_text("x\n1\n")
    return folder


def made(tmp_path: Path, inputs: dict[str, Any], outputs: dict[str, Any] | None = None, **settings: Any) -> PipelineJob:
    deployment = PipelineDeployment(name="pipe", endpoint_name="heart", interface=INTERFACE)
    root = str(tmp_path / "job")
    return make_pipeline_job(None, "id", deployment, builtin_local(), root, inputs, outputs or {}, settings)


def test_a_job_is_recorded_with_what_its_call_means(tmp_path: Path, data: Path) -> None:
    job = made(tmp_path, {"data": str(data), "table": {"path": str(data / "a.csv"), "mode": "direct"}, "folds": 4})
    job.save()
    read = load_job(Folder(job.root))
    assert isinstance(read, PipelineJob) and read.model_dump() == job.model_dump()
    folder, table = read.inputs["data"], read.inputs["table"]
    assert isinstance(folder, DataValue) and isinstance(table, DataValue)
    assert (folder.location.url, folder.is_folder, folder.direct) == (str(data), True, False)
    assert (table.location.url, table.is_folder, table.direct) == (str(data / "a.csv"), False, True)
    assert read.inputs["folds"] == 4 and "note" not in read.inputs
    assert {name: (place.location.url, place.is_file, place.given) for name, place in read.outputs.items()} == {
        "scores": (f"{tmp_path}/job/scores", False, False),
        "report": (f"{tmp_path}/job/report", True, False),
    }


def test_settings_of_one_job(tmp_path: Path, data: Path) -> None:
    job = made(tmp_path, {"data": str(data)}, force_rerun=True)
    assert job.settings.force_rerun and job.overrides == {"force_rerun": True}
    with pytest.raises(InvalidDocument, match=r"settings: mini_batch_size is not a known key"):
        made(tmp_path, {"data": str(data)}, mini_batch_size=3)


def test_given_outputs_are_free_apart_and_not_in_the_input(tmp_path: Path, data: Path) -> None:
    call, taken = {"data": str(data)}, tmp_path / "taken"
    taken.mkdir()
    (taken / "x").touch()
    job = made(tmp_path, call, {"scores": f"{tmp_path}/out/", "report": {"path": f"{tmp_path}/r.json"}})
    assert job.outputs["scores"].location.url == f"{tmp_path}/out" and job.outputs["scores"].given
    assert job.outputs["report"].location.url == f"{tmp_path}/r.json"
    refused: list[tuple[type[BatchError], dict[str, str], str]] = [
        (AlreadyExists, {"scores": str(taken)}, r"outputs\.scores: .* is not empty"),
        (AlreadyExists, {"report": str(taken / "x")}, r"outputs\.report: .*/x exists already"),
        (InvalidDocument, {"scores": f"{data}/a.csv"}, r"inputs\.data: .* holds .*a\.csv"),
        (
            InvalidDocument,
            {"scores": f"{data}/out"},
            r"inputs\.data: .* which the job writes to: keep them apart",
        ),
        (InvalidDocument, {"scores": f"{tmp_path}/o", "report": f"{tmp_path}/o"}, "lie in one place"),
        (InvalidDocument, {"scores": f"{tmp_path}/o", "report": f"{tmp_path}/o/r"}, "lie in one place"),
        (InvalidDocument, {"scores": "data:heart@latest"}, "never changes"),
        (InvalidDocument, {"scores": f"{tmp_path}/o*"}, "is a pattern"),
    ]
    for error, outputs, message in refused:
        with pytest.raises(error, match=message):
            made(tmp_path, call, outputs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "taken"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"data": "{data}/nowhere"}, r"inputs\.data: .* does not exist"),
        ({"data": "{data}/*.csv"}, r"inputs\.data: .* is a pattern: name one file or one folder"),
        ({"data": "{data}/a.csv"}, r"inputs\.data: .* is a file, and the deployment takes a folder"),
        ({"data": "{data}", "table": "{data}"}, r"inputs\.table: .* is a folder, and the deployment takes a file"),
    ],
)
def test_data_must_be_there_and_of_its_type(tmp_path: Path, data: Path, inputs: dict[str, str], message: str) -> None:
    with pytest.raises((InvalidDocument, NotFound), match=message):
        made(tmp_path, {name: path.format(data=data) for name, path in inputs.items()})


def test_a_pipelines_own_place_for_an_output(tmp_path: Path) -> None:
    interface = Interface.model_validate(
        {"outputs": {"scores": {"path": f"{tmp_path}/${{{{name}}}}/${{{{output_name}}}}"}}}
    )
    deployment = PipelineDeployment(name="pipe", endpoint_name="heart", interface=interface)
    job = make_pipeline_job(None, "id", deployment, builtin_local(), str(tmp_path / "job"), {}, {}, {})
    assert (job.outputs["scores"].location.url, job.outputs["scores"].given) == (f"{tmp_path}/id/scores", True)
