"""The parameter schema: what the server lets pass before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from prefect.utilities.schema_tools.validation import build_error_obj, is_valid_schema, validate

from prefect_batch.blocks.deployment import Deployment
from prefect_batch.blocks.model_deployment import ModelDeployment, parse_model_deployment
from prefect_batch.blocks.model_params import Param
from prefect_batch.blocks.settings import JobSettings
from prefect_batch.flows.parameters import parameter_schema

DEFAULT = parse_model_deployment(
    {
        "name": "gbm",
        "endpoint_name": "heart",
        "type": "model",
        "model": "m",
        "settings": {"mini_batch_size": 7, "retry_settings": {"timeout": 99}},
    },
    "file",
)


OTHER = DEFAULT.model_copy(update={"name": "other"})


def errors(
    parameters: dict[str, Any], default: Deployment | None = DEFAULT, others: Sequence[Deployment] = (OTHER,)
) -> list[str]:
    known = [default or DEFAULT, *others]
    schema = parameter_schema(default, {deployment.name: deployment for deployment in known})
    is_valid_schema(schema)
    return [error.message for error in validate(parameters, schema)]


@pytest.mark.parametrize(
    "parameters",
    [
        {"inputs": {"data": "x"}},
        {"inputs": {"any_name": "x"}, "outputs": {"score": "y"}},
        {"inputs": {"data": "x"}, "outputs": {}, "settings": {}},
        {"inputs": {"data": "x"}, "deployment": "other"},
        {"inputs": {"data": "x"}, "settings": {"mini_batch_size": 1, "logging_level": "debug"}},
        {"inputs": {"data": "x"}, "settings": {"retry_settings": {"max_retries": 1, "timeout": 0.5}}},
        *({"inputs": {"data": "x"}, "settings": {"error_threshold": value}} for value in (-1, 0, 5, "5%", "0.5%")),
        *({"inputs": {"data": "x"}, "settings": {"mini_batch_size": v}} for v in (1, "64MB", "1.5 GiB", "50000 rows")),
        *(
            {"inputs": {"data": "x"}, "settings": {"output_columns": value}}
            for value in (
                "all",
                "id",
                ["id", "name"],
                {},
                {"input": "all", "prediction": "p"},
                {"input": ["a"], "row": False},
            )
        ),
        {"inputs": {"data": "x"}, "settings": {"output_file_name": "", "output_compression": "gzip"}},
        {"inputs": {"data": "x"}, "settings": {"output_format": "jsonl"}},
        {"inputs": {"data": ["x", "y"]}},
        {"inputs": {"images": ["x"]}},
        {"inputs": {"data": {"path": "x"}}},
        {"inputs": {"data": {"path": ["x", "y"], "type": "uri_folder", "include": "*.csv", "exclude": ["a", "b"]}}},
        {"inputs": {"images": {"path": "x", "type": "uri_file"}}},
        {"inputs": {"images": {"path": "x", "type": "UriFolder", "mode": "ro_mount"}}},
        {"inputs": {"data": "x", "params": {}}},
        {"inputs": {"data": "x", "params": None}},
        {"inputs": {"images": "x", "params": {"of_another_deployment": [1]}}},
        {"inputs": {"data": "x"}, "outputs": {"score": {"path": "y", "type": "uri_folder", "mode": "upload"}}},
        {"inputs": {"data": "x"}, "outputs": {"score": {"path": "y/x.csv", "type": "UriFile"}}},
        {"inputs": {"data": "x"}, "outputs": {"any": {"path": "y"}}},
        *({"input": value} for value in ("x", ["x", "y"], {"path": "x", "include": "*.csv"})),
        {"input": "x", "inputs": {}},
        {"input": "x", "inputs": {"params": {"k": 1}}, "deployment": "other"},
    ],
)
def test_good_parameters(parameters: dict[str, Any]) -> None:
    assert errors(parameters) == []


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"inputs": {}},
        {"inputs": "x"},
        {"inputs": None},
        *({"input": value} for value in ("", 3, [], [""], {}, None, {"path": "x", "kind": "y"})),
        {"input": "x", "inputs": {"data": "x"}},
        {"input": "x", "inputs": {"any_name": "x", "params": {}}},
        {"input": "x", "inputs": {"params": "y"}},
        {"inputs": {"data": ""}},
        {"inputs": {"data": 3}},
        {"inputs": {"a": "x", "b": "y"}},
        {"inputs": {"data": "x", "b": "y"}},
        {"inputs": {"data": []}},
        {"inputs": {"data": [""]}},
        {"inputs": {"data": {}}},
        {"inputs": {"data": {"path": "x", "kind": "y"}}},
        {"inputs": {"data": {"path": "x", "type": "mltable"}}},
        {"inputs": {"params": {"a": 1}}},
        {"inputs": {"data": "x", "b": "y", "params": {}}},
        {"inputs": {"data": "x", "params": "y"}},
        {"inputs": {"data": "x"}, "outputs": {"score": {"type": "uri_file"}}},
        {"inputs": {"data": "x"}, "outputs": {"a": "x", "b": "y"}},
        {"inputs": {"data": "x"}, "deployment": "unknown"},
        *(
            {"inputs": {"data": "x"}, "settings": settings}
            for settings in (
                {"mini_batch_size": 0},
                {"mini_batch_size": "many"},
                {"mini_batch_size": "64M"},
                {"output_columns": {"inputs": "all"}},
                {"output_columns": 3},
                {"output_compression": "lz4"},
                {"output_format": "xml"},
                {"instance_count": 0},
                {"error_threshold": -2},
                {"error_threshold": "5"},
                {"logging_level": "loud"},
                {"retry_settings": {"max_retries": 0}},
                {"retry_settings": {"timeout": 0}},
                {"retry_settings": {"timeout": 300_000}},
                {"retry_settings": {"unknown": 1}},
                {"minibatchsize": 3},
            )
        ),
    ],
)
def test_bad_parameters(parameters: dict[str, Any]) -> None:
    assert errors(parameters) != []


def test_an_endpoint_without_a_default_asks_for_a_deployment() -> None:
    assert errors({"inputs": {"data": "x"}}, default=None) != []
    assert errors({"inputs": {"data": "x"}, "deployment": "gbm"}, default=None) == []
    assert parameter_schema(None, {})["properties"]["deployment"].get("enum") is None


def test_the_form_tells_the_default_deployments_settings_and_submits_none() -> None:
    schema = parameter_schema(DEFAULT, {})
    settings = schema["definitions"]["Settings"]["properties"]
    assert settings["mini_batch_size"]["description"].startswith("What one call of run() gets: a number of files, ")
    assert settings["mini_batch_size"]["description"].endswith(" Default: 7.")
    assert settings["output_columns"]["description"].endswith("(its name), file and row.")
    assert [branch["title"] for branch in settings["mini_batch_size"]["anyOf"]] == ["files", "size or rows"]
    assert schema["definitions"]["RetrySettings"]["properties"]["timeout"]["description"].endswith("Default: 99.")
    assert schema["properties"]["deployment"]["description"] == "Deployment to run instead of the default, gbm."
    assert '"default":' not in str(schema).replace("'", '"')
    assert set(settings) == set(JobSettings.model_fields)


def with_params(**params: Param) -> ModelDeployment:
    return DEFAULT.model_copy(update={"params_schema": params})


TEMPERATURE = Param(type="number", default=0.5, description="How bold.")


def test_the_form_has_a_field_for_each_parameter_of_the_default_deployment() -> None:
    default = with_params(
        temperature=TEMPERATURE,
        k=Param(type="integer", required=True),
        free=Param(),
        exact=Param(type="boolean", default=True),
        **{"**": Param()},
    )
    params = parameter_schema(default, {})["definitions"]["Inputs"]["properties"]["params"]
    assert params["properties"] == {
        "temperature": {"title": "temperature", "type": "number", "description": "How bold. Default: 0.5."},
        "k": {"title": "k", "type": "integer", "description": "No default: the model needs it."},
        "free": {"title": "free", "description": "Written as JSON."},
        "exact": {"title": "exact", "enum": [True, False], "description": "Default: true."},
    }


@pytest.mark.parametrize("default", [None, DEFAULT, with_params(), with_params(**{"**": Param()})])
def test_the_form_has_no_card_of_parameters_where_there_are_none(default: ModelDeployment | None) -> None:
    schema = parameter_schema(default, {})
    assert schema["definitions"]["Inputs"]["properties"] == {}
    assert schema["properties"]["inputs"]["description"].startswith("The data by name, instead of input: JSON like ")


def test_every_choice_of_true_and_false_can_stay_open_in_the_form() -> None:
    """A switch cannot: it shows what is true by default, and untouched, as false."""
    schema = str(parameter_schema(with_params(exact=Param(type="boolean", default=True)), {}))
    assert (schema.count("'boolean'"), schema.count("'enum': [True, False]")) == (0, 3)
    default = with_params(exact=Param(type="boolean", default=True))
    assert errors({"inputs": {"data": "x", "params": {"exact": False}}}, default) == []
    for wrong in (0, 1, "yes", "true"):
        assert errors({"inputs": {"data": "x", "params": {"exact": wrong}}}, default) != []


def test_an_item_of_a_list_may_be_anything() -> None:
    default = with_params(words=Param(type="array", default=[]))
    assert errors({"inputs": {"data": "x", "params": {"words": ["a", 2.5, True, [1], {"b": None}]}}}, default) == []
    assert errors({"inputs": {"data": "x", "params": {"words": "a"}}}, default) != []


def test_a_wrong_size_is_refused_with_a_pattern_that_people_can_read() -> None:
    schema = parameter_schema(DEFAULT, {})["definitions"]["Settings"]["properties"]["mini_batch_size"]
    assert schema["anyOf"][1]["pattern"] == (
        "^(?i:([0-9]+(?:[.][0-9]+)?) ?(B|KB|KIB|MB|MIB|GB|GIB|TB|TIB)|([0-9]+) ?rows?)$"
    )


def test_parameters_are_typed_and_those_of_another_deployment_pass() -> None:
    default = with_params(temperature=TEMPERATURE, k=Param(type="integer", required=True))
    assert errors({"inputs": {"data": "x", "params": {"temperature": 1, "other": "y"}}}, default) == []
    assert errors({"inputs": {"data": "x", "params": {"temperature": "hot"}}}, default) != []
    assert errors({"inputs": {"data": "x"}}, default) == []


def test_the_plain_path_comes_first_in_the_form() -> None:
    data = parameter_schema(DEFAULT, {})["properties"]["input"]
    assert data["position"] == 0
    assert [branch["title"] for branch in data["anyOf"]] == ["path", "several paths", "path with filters"]


def test_what_the_server_stores_is_a_valid_schema_without_required_keys_too() -> None:
    """It checks a deployment's own parameters that way."""
    schema = parameter_schema(with_params(temperature=TEMPERATURE), {})
    for given in ({}, {"inputs": {"data": "x"}}, {"input": "x"}, {"inputs": {"data": "x", "params": {}}}):
        assert validate({"endpoint": "heart", **given}, schema, ignore_required=True) == []


def test_no_data_is_told_at_the_field_for_it() -> None:
    schema = parameter_schema(DEFAULT, {})
    for nothing in ({}, {"inputs": {}}, {"inputs": {"params": {"k": 1}}}):
        assert build_error_obj(validate(nothing, schema)) == {
            "errors": [{"property": "input", "errors": ["'input' is a required property"]}],
            "valid": False,
        }
