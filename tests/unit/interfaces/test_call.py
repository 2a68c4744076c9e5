"""A call from the command line: options and --set made into a request, local paths made absolute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.interface import Interface
from prefect_batch.interfaces import overrides
from prefect_batch.interfaces.call import bring_within_reach, load_call, reader, request
from prefect_batch.scoring.errors import InvalidDocument, NotFound


def made(
    assignments: dict[str, Any] | None = None,
    inputs: list[str] | None = None,
    input_type: str | None = None,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    output: str | None = None,
) -> dict[str, Any]:
    return request(assignments or {}, inputs or [], input_type, include or [], exclude or [], output)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, {}),
        ({"inputs": ["x"]}, {"inputs": {"data": "x"}}),
        ({"inputs": ["x", "y"]}, {"inputs": {"data": ["x", "y"]}}),
        ({"inputs": ["x"], "input_type": "uri_file"}, {"inputs": {"data": {"path": "x", "type": "uri_file"}}}),
        (
            {"inputs": ["x", "y"], "include": ["*.csv"], "exclude": ["b*"]},
            {"inputs": {"data": {"path": ["x", "y"], "include": ["*.csv"], "exclude": ["b*"]}}},
        ),
        ({"assignments": {"inputs": {"d": {"path": "x", "type": "uri_folder"}}}, "include": ["*.csv"]},
         {"inputs": {"d": {"path": "x", "type": "uri_folder", "include": ["*.csv"]}}}),
        (
            {"assignments": {"inputs": {"params": {"t": 1}}, "mini_batch_size": "64MB"}, "inputs": ["x"]},
            {"inputs": {"params": {"t": 1}, "data": "x"}, "settings": {"mini_batch_size": "64MB"}},
        ),
        ({"output": "s3://b/x"}, {"outputs": {"score": "s3://b/x"}}),
        ({"assignments": {"outputs": {"score": {"path": "y"}}}}, {"outputs": {"score": {"path": "y"}}}),
    ],
)  # fmt: skip
def test_requests(options: dict[str, Any], parameters: dict[str, Any]) -> None:
    assert made(**options) == parameters


def test_data_named_twice() -> None:
    with pytest.raises(InvalidDocument, match=r"--input and inputs\.d both name the data"):
        made({"inputs": {"d": "y"}}, ["x"])
    with pytest.raises(InvalidDocument, match=r"--set inputs=x: name which, as in --set inputs\.data\.path=PATH"):
        made({"inputs": "x"})


def test_local_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    parameters: dict[str, Any] = {
        "inputs": {"data": ["data/", "s3://b/x", "azureml:heart@latest"], "params": {"path": "data"}},
        "outputs": {"score": {"path": "new/"}},
    }
    bring_within_reach(parameters, client=None)
    assert parameters == {
        "inputs": {"data": [f"{tmp_path}/data/", "s3://b/x", "azureml:heart@latest"], "params": {"path": "data"}},
        "outputs": {"score": {"path": f"{tmp_path}/new/"}},
    }


def test_a_local_input_must_be_there_unless_it_is_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parameters: dict[str, Any] = {"inputs": {"data": "in/*.csv"}}
    bring_within_reach(parameters, client=None)
    assert parameters["inputs"]["data"] == f"{tmp_path}/in/*.csv"
    with pytest.raises(NotFound, match="input 'nowhere' does not exist"):
        bring_within_reach({"inputs": {"data": {"path": "nowhere"}}}, client=None)


def test_a_call_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "inputs.yml"
    file.write_text("inputs: {heart: 'azureml:/heart@latest'}\noutputs: {score: {type: uri_folder, path: lake:x/}}\n")
    assert made(load_call(file)) == {
        "inputs": {"heart": "azureml:/heart@latest"},
        "outputs": {"score": {"type": "uri_folder", "path": "lake:x/"}},
    }
    file.write_text("inputs: {d: x}\nsettings: {mini_batch_size: 2}\n")
    assert made(load_call(file)) == {"inputs": {"d": "x"}, "settings": {"mini_batch_size": 2}}
    file.write_text("input: {d: x}\n")
    with pytest.raises(InvalidDocument, match="did you mean inputs"):
        load_call(file)


PIPELINE = Interface.model_validate(
    {
        "inputs": {
            "data": {},
            "note": {"type": "string", "default": "-"},
            "folds": {"type": "integer", "optional": True},
            "rate": {"type": "number", "optional": True},
            "exact": {"type": "boolean", "optional": True},
            "model": {"type": "mlflow_model", "optional": True},
        },
        "outputs": {"scores": {}},
    }
)


def called(*assignments: str) -> dict[str, Any]:
    given = overrides.parse(overrides.spread(["--set", *assignments])[1::2], read=reader(PIPELINE))
    given.setdefault("inputs", {})["data"] = "x"
    return request(given, [], None, [], [], None, PIPELINE)


@pytest.mark.parametrize(
    ("assignments", "values"),
    [
        (["inputs.note=007"], {"note": "007"}),
        (["inputs.note=1.10"], {"note": "1.10"}),
        (["inputs.note=true"], {"note": "true"}),
        (["inputs.note=null"], {"note": "null"}),
        (['inputs.note="; rm -rf ~; echo "'], {"note": '"; rm -rf ~; echo "'}),
        (["inputs.note="], {"note": ""}),
        (["inputs.note.default=5"], {"note": "5"}),
        (["inputs.note.type", "string", "inputs.note.default", "append"], {"note": "append"}),
        (["inputs.folds.type=integer", "inputs.folds.default=5"], {"folds": 5}),
        (["inputs.folds=5", "inputs.rate=5", "inputs.exact=True"], {"folds": 5, "rate": 5.0, "exact": True}),
        (["inputs.rate=1e-3"], {"rate": 0.001}),
    ],
)
def test_literals_of_a_pipeline_are_read_as_what_they_are(assignments: list[str], values: dict[str, Any]) -> None:
    assert called(*assignments) == {"inputs": {"data": "x", **values}}


def test_a_wrong_literal_is_named() -> None:
    for assignment, message in [
        ("inputs.folds=many", r"inputs\.folds: 'many' is not a whole number"),
        ("inputs.fold=3", r"inputs\.fold is no input of this deployment: did you mean folds\?"),
        ("outputs.score=y", r"outputs\.score is no output of this deployment: did you mean scores\?"),
    ]:
        with pytest.raises(InvalidDocument, match=message):
            called(assignment)


def test_the_only_data_input_and_output_of_a_pipeline_need_no_name() -> None:
    one = Interface.model_validate({"inputs": {"images": {}}, "outputs": {"scores": {}}})
    made = request({}, ["x"], "uri_folder", [], [], "y", one)
    assert made == {"inputs": {"images": {"path": "x", "type": "uri_folder"}}, "outputs": {"scores": "y"}}
    with pytest.raises(
        InvalidDocument, match=r"--input is for a pipeline with one data input, and it has data, model: "
    ):
        request({}, ["x"], None, [], [], None, Interface(inputs=PIPELINE.inputs))
    with pytest.raises(InvalidDocument, match=r"--output-path is for a pipeline with one data output, and it has none"):
        request({}, [], None, [], [], "y", Interface())
    with pytest.raises(InvalidDocument, match=r"--input and inputs\.images both name a place"):
        request({"inputs": {"images": "z"}}, ["x"], None, [], [], None, one)
    with pytest.raises(InvalidDocument, match="a pipeline takes one place"):
        request({}, ["x", "y"], None, [], [], None, one)


def test_a_pipelines_data_is_brought_within_reach_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    parameters: dict[str, Any] = {
        "inputs": {"data": {"path": "data", "type": "uri_folder"}, "note": "data", "model": "models:/m/1"},
        "outputs": {"scores": "new/"},
    }
    bring_within_reach(parameters, None, PIPELINE)
    assert parameters == {
        "inputs": {"data": {"path": f"{tmp_path}/data", "type": "uri_folder"}, "note": "data", "model": "models:/m/1"},
        "outputs": {"scores": f"{tmp_path}/new/"},
    }


def test_local_data_of_a_pipeline_is_looked_at_before_there_is_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.csv").touch()
    interface = Interface.model_validate({"inputs": {"data": {}, "table": {"type": "uri_file"}}})
    for name, given, message in [
        ("data", "nowhere", r"inputs\.data: 'nowhere' does not exist \(looked for /.*/nowhere\)"),
        ("data", "*.csv", r"inputs\.data: '\*\.csv' is a pattern: name one file or one folder"),
        ("data", "a.csv", r"inputs\.data: 'a\.csv' is a file, and the deployment takes a folder there"),
        ("table", "folder", r"inputs\.table: 'folder' is a folder, and the deployment takes a file there"),
    ]:
        for value in (given, {"path": given}):
            with pytest.raises((NotFound, InvalidDocument), match=message):
                bring_within_reach({"inputs": {name: value}}, None, interface)
    given = {"inputs": {"data": "folder", "table": "a.csv"}}
    bring_within_reach(given, None, interface)
    assert given["inputs"] == {"data": f"{tmp_path}/folder", "table": f"{tmp_path}/a.csv"}
