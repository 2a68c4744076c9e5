"""The parameter schema of an endpoint with pipelines: its form, and what the server says to a wrong call."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prefect.utilities.schema_tools.validation import ValidationError, is_valid_schema, validate

from prefect_batch.blocks.deployment import Deployment
from prefect_batch.blocks.interface import Interface
from prefect_batch.blocks.model_deployment import parse_model_deployment
from prefect_batch.blocks.model_params import Param
from prefect_batch.blocks.pipeline_deployment import PipelineDeployment
from prefect_batch.blocks.pipeline_settings import PipelineSettings
from prefect_batch.flows.parameters import parameter_schema

MODEL = parse_model_deployment({"name": "gbm", "endpoint_name": "heart", "type": "model", "model": "m"}, "file")


def pipeline(name: str, inputs: dict[str, Any], outputs: dict[str, Any] | None = None) -> PipelineDeployment:
    interface = Interface.model_validate({"inputs": inputs, "outputs": outputs or {}})
    return PipelineDeployment(name=name, endpoint_name="heart", interface=interface)


PIPELINE = pipeline(
    "pipe",
    {
        "data": {"type": "uri_folder", "description": "What to score."},
        "table": {"type": "uri_file", "optional": True},
        "model": {"type": "mlflow_model", "optional": True},
        "score_mode": {"type": "string", "enum": ["append", "prediction_only"], "default": "append", "title": "Mode"},
        "folds": {"type": "integer", "min": 1, "max": 9, "default": 3},
        "rate": {"type": "number", "min": 0.5, "optional": True},
        "exact": {"type": "boolean", "default": False},
        "strict": {"type": "boolean", "default": True},
        "note": {"type": "string"},
    },
    {"scores": {"description": "The table."}, "report": {"type": "uri_file"}},
)
HELLO = pipeline("hello", {})
TRAIN = pipeline("train", {"training_data": {}, "folds": {"type": "string"}, "rate": {"type": "number"}}, {"model": {}})


def schema_of(default: Deployment | None, *others: Deployment) -> dict[str, Any]:
    known = [one for one in (default, *others) if one]
    schema = parameter_schema(default, {one.name: one for one in known})
    is_valid_schema(schema)
    return schema


def refusal(parameters: dict[str, Any], default: Deployment | None, *others: Deployment) -> str:
    """What the server would say, or an empty text."""
    try:
        validate({"endpoint": "heart", **parameters}, schema_of(default, *others), raise_on_error=True)
    except ValidationError as error:
        return str(error)
    return ""


def test_each_input_has_a_typed_field_in_the_form() -> None:
    fields = schema_of(PIPELINE)["definitions"]["Inputs"]["properties"]
    assert list(fields) == list(PIPELINE.interface.inputs)
    assert [field["position"] for field in fields.values()] == list(range(9))
    shown = {name: {k: v for k, v in field.items() if k != "position"} for name, field in fields.items()}
    assert shown["score_mode"] == {
        "title": "Mode",
        "type": "string",
        "enum": ["append", "prediction_only"],
        "description": "Default: append.",
    }
    assert shown["folds"] == {
        "title": "folds",
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
        "description": "Default: 3. A whole number from 1 to 9.",
    }
    assert shown["rate"] == {
        "title": "rate",
        "type": "number",
        "minimum": 0.5,
        "description": "A number from 0.5.",
    }
    assert shown["exact"] == {"title": "exact", "type": "boolean", "description": "Default: false."}
    assert shown["strict"] == {"title": "strict", "enum": [True, False], "description": "Default: true."}
    assert shown["note"] == {"title": "note", "type": "string", "description": "Required."}
    assert shown["data"]["description"].startswith("Required. What to score. A folder, as a path, a URL or ")
    assert [branch["title"] for branch in shown["data"]["anyOf"]] == ["path", "path with type"]
    outputs = schema_of(PIPELINE)["definitions"]["Outputs"]["properties"]
    assert outputs["scores"]["description"].startswith("The table. A folder that is not there yet")
    assert outputs["report"]["description"].startswith("A file that is not there yet")


def test_the_form_follows_the_default() -> None:
    for default, fields, settings in [
        (PIPELINE, list(PIPELINE.interface.inputs), "force_rerun"),
        (MODEL, [], "mini_batch_size"),
        (TRAIN, ["training_data", "folds", "rate"], "force_rerun"),
    ]:
        definitions = schema_of(default, *({PIPELINE.name: PIPELINE, MODEL.name: MODEL, TRAIN.name: TRAIN}.values()))[
            "definitions"
        ]
        assert list(definitions["Inputs"]["properties"]) == fields
        assert settings in definitions["Settings"]["properties"]


def test_settings_tell_their_defaults_and_submit_none() -> None:
    changed = PIPELINE.model_copy(update={"settings": PipelineSettings(force_rerun=True, instance_count=2)})
    schema = schema_of(changed)
    settings = schema["definitions"]["Settings"]["properties"]
    assert settings["instance_count"]["description"].endswith("Default: 2.")
    assert settings["force_rerun"]["enum"] == [True, False]
    assert settings["continue_on_step_failure"]["description"].endswith("Default: true.")
    assert "'default':" not in str(schema)


GOOD = {"data": "x", "note": ""}


@pytest.mark.parametrize(
    "parameters",
    [
        {"inputs": GOOD},
        {"inputs": {**GOOD, "folds": 9, "rate": 0.5, "exact": True, "strict": False, "score_mode": "prediction_only"}},
        {"inputs": {**GOOD, "folds": 5.0, "rate": 1}},
        {"inputs": {**GOOD, "exact": None, "table": "t.csv"}},
        {"inputs": {**GOOD, "data": {"path": "x", "type": "uri_folder", "mode": "download"}, "table": "t.csv"}},
        {"inputs": {**GOOD, "model": {"path": "models:/m/1", "type": "mlflow_model"}}},
        {"inputs": GOOD, "outputs": {"scores": "y", "report": {"path": "r.json", "type": "uri_file"}}},
        {"inputs": GOOD, "settings": {"force_rerun": True, "instance_count": 2}, "deployment": "pipe"},
        {"inputs": {"data": "x"}, "deployment": "gbm", "settings": {"mini_batch_size": 3}},
        {"inputs": {"any_name": ["x", "y"], "params": {"k": 1}}, "deployment": "gbm", "outputs": {"score": "y"}},
        {"deployment": "hello"},
        {"input": "x", "deployment": "gbm"},
        {"input": ["x"], "inputs": {"params": {"k": 1}}, "deployment": "gbm", "settings": {"mini_batch_size": 3}},
        {"inputs": {}, "deployment": "hello"},
        {"inputs": {"training_data": "x", "folds": "all", "rate": 0.1}, "deployment": "train"},
    ],
)
def test_good_calls(parameters: dict[str, Any]) -> None:
    assert refusal(parameters, PIPELINE, MODEL, HELLO, TRAIN) == ""


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "'inputs' is a required property"),
        ({"inputs": {"data": "x"}}, "'note' is a required property"),
        ({"inputs": {**GOOD, "nots": 1}}, "Additional properties are not allowed ('nots' was unexpected)"),
        ({"inputs": {**GOOD, "folds": 10}}, "'inputs.folds'. Failure reason: 10 is greater than the maximum of 9"),
        ({"inputs": {**GOOD, "folds": "3"}}, "'inputs.folds'. Failure reason: '3' is not of type 'integer', 'null'"),
        ({"inputs": {**GOOD, "folds": 2.5}}, "'inputs.folds'. Failure reason: 2.5 is not of type 'integer', 'null'"),
        ({"inputs": {**GOOD, "rate": 0.4}}, "'inputs.rate'. Failure reason: 0.4 is less than the minimum of 0.5"),
        ({"inputs": {**GOOD, "note": 5}}, "'inputs.note'. Failure reason: 5 is not of type 'string'"),
        ({"inputs": {**GOOD, "score_mode": "x"}}, "'x' is not one of ['append', 'prediction_only']"),
        (
            {"inputs": {**GOOD, "exact": "yes"}},
            "'inputs.exact'. Failure reason: 'yes' is not of type 'boolean', 'null'",
        ),
        ({"inputs": {**GOOD, "strict": 1}}, "'inputs.strict'. Failure reason: 1 is not one of [True, False]"),
        ({"inputs": {**GOOD, "data": ["x"]}}, "'inputs.data'. Failure reason: ['x'] is not"),
        ({"inputs": {**GOOD, "note": None}}, "'inputs.note'. Failure reason: None is not of type 'string'"),
        ({"inputs": GOOD, "outputs": {"score": "y"}}, "('score' was unexpected)"),
        ({"inputs": GOOD, "settings": {"mini_batch_size": 3}}, "('mini_batch_size' was unexpected)"),
    ],
)
def test_bad_calls_of_the_default_alone_and_beside_others(parameters: dict[str, Any], said: str) -> None:
    assert said in refusal(parameters, PIPELINE)
    assert said in refusal(parameters, PIPELINE, MODEL, HELLO)
    assert said in refusal({**parameters, "deployment": "pipe"}, MODEL, PIPELINE, HELLO)
    assert said in refusal({**parameters, "deployment": "pipe"}, None, MODEL, PIPELINE, HELLO)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"inputs": {"a": "x", "b": "y"}, "deployment": "gbm"}, "has too many properties"),
        ({"deployment": "gbm"}, "'input' is a required property"),
        ({"input": "x", "inputs": {"data": "x"}, "deployment": "gbm"}, "('data' was unexpected)"),
        ({"input": "x", "inputs": GOOD}, "Validation failed for field 'input'. Failure reason: 'x' is not of type"),
        ({"input": "x", "deployment": "hello"}, "'input'. Failure reason: 'x' is not of type 'null'"),
        ({"inputs": {"data": "x"}, "settings": {"force_rerun": True}, "deployment": "gbm"}, "'force_rerun' was unexp"),
        ({"inputs": {"x": "y"}, "deployment": "hello"}, "('x' was unexpected)"),
        ({"inputs": {"training_data": "x", "folds": 3, "rate": 1}, "deployment": "train"}, "3 is not of type 'string'"),
        ({"inputs": {"training_data": "x", "folds": "3"}, "deployment": "train"}, "'rate' is a required property"),
        ({"inputs": GOOD, "deployment": "pipes"}, "'pipes' is not one of ["),
    ],
)
def test_bad_calls_of_another_deployment(parameters: dict[str, Any], said: str) -> None:
    assert said in refusal(parameters, PIPELINE, MODEL, HELLO, TRAIN)


def test_only_endpoints_with_a_model_have_the_short_form() -> None:
    assert "input" not in schema_of(PIPELINE, TRAIN)["properties"]
    mixed = schema_of(PIPELINE, MODEL)["properties"]
    assert mixed["input"]["position"] > mixed["settings"]["position"]
    assert mixed["input"]["description"] == "Not for pipe: what a model deployment is to score."
    assert schema_of(MODEL, PIPELINE)["properties"]["input"]["position"] == 0


def test_what_is_missing_is_told_once() -> None:
    for schema in (schema_of(PIPELINE), schema_of(PIPELINE, TRAIN)):
        for given in ({}, {"inputs": {}}, {"inputs": {"data": "x"}}):
            said = [error.message for error in validate(given, schema)]
            assert said and len(set(said)) == len(said)


def test_an_input_that_another_deployment_does_without_says_whose_it_is() -> None:
    fields = schema_of(PIPELINE, MODEL)["definitions"]["Inputs"]["properties"]
    assert fields["note"]["description"] == "Required by pipe."
    assert fields["data"]["description"].startswith("Required by pipe. What to score. ")
    assert schema_of(PIPELINE)["definitions"]["Inputs"]["properties"]["note"]["description"] == "Required."
    assert not re.search(r"Required\.", str(schema_of(PIPELINE, MODEL)["definitions"]))


def test_what_every_deployment_requires_is_required_in_the_form() -> None:
    shown = schema_of(PIPELINE, pipeline("other", {"data": {"type": "uri_file"}, "note": {"type": "integer"}}))
    assert shown["definitions"]["Inputs"]["required"] == ["data", "note"] and shown["required"] == ["inputs"]
    shown = schema_of(PIPELINE, pipeline("other", {"data": {"optional": True}, "note": {"type": "string"}}))
    assert shown["definitions"]["Inputs"]["required"] == ["note"] and shown["required"] == ["inputs"]
    shown = schema_of(PIPELINE, HELLO)
    assert shown["definitions"]["Inputs"]["required"] == [] and shown["required"] == []


def test_a_prefect_deployments_own_parameters_are_those_of_the_default() -> None:
    """The server checks them without the keys `required`."""
    for default, given in ((PIPELINE, {"inputs": {"note": "x"}}), (MODEL, {"inputs": {"any": "x"}}), (MODEL, {})):
        schema = schema_of(default, *(one for one in (HELLO, TRAIN, MODEL, PIPELINE) if one is not default))
        assert validate({"endpoint": "heart", **given}, schema, ignore_required=True) == []


def test_a_pipeline_without_inputs_says_so_in_the_form() -> None:
    assert schema_of(HELLO)["properties"]["inputs"]["description"] == "hello has none."
    said = schema_of(HELLO, PIPELINE)["properties"]["outputs"]["description"]
    assert said == "hello has none; those of another deployment are given as JSON."
    assert "description" not in schema_of(PIPELINE, HELLO)["properties"]["inputs"]


def test_two_models_with_parameters_of_one_name() -> None:
    first = MODEL.model_copy(update={"params_schema": {"k": Param(type="integer")}})
    other = MODEL.model_copy(update={"name": "other", "params_schema": {"k": Param(type="string")}})
    for call, fits in [({}, 3), ({"deployment": "other"}, "x")]:
        for value in (3, "x"):
            said = refusal({"inputs": {"data": "d", "params": {"k": value}}, **call}, first, other)
            assert (said == "") == (value == fits), said


def test_an_endpoint_without_a_default_asks_for_a_deployment() -> None:
    assert "'deployment' is a required property" in refusal({"inputs": GOOD}, None, PIPELINE)
    assert list(schema_of(None, PIPELINE)["definitions"]["Inputs"]["properties"]) == list(PIPELINE.interface.inputs)
    assert list(schema_of(None, PIPELINE, MODEL)["definitions"]["Inputs"]["properties"]) == []


def test_what_the_server_stores_is_a_valid_schema_without_required_keys_too() -> None:
    """It checks a deployment's own parameters that way."""
    for default in (PIPELINE, MODEL, HELLO):
        schema = schema_of(default, *({PIPELINE.name: PIPELINE, MODEL.name: MODEL, HELLO.name: HELLO}.values()))
        assert validate({"endpoint": "heart"}, schema, ignore_required=True) == []
