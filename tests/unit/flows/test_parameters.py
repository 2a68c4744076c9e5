"""The parameter schema: what the server lets pass before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.utilities.schema_tools.validation import is_valid_schema, validate

from prefect_batch.blocks.deployment import ModelDeployment, parse_deployment
from prefect_batch.blocks.settings import JobSettings
from prefect_batch.flows.parameters import parameter_schema

DEFAULT = parse_deployment(
    {
        "name": "gbm",
        "endpoint_name": "heart",
        "type": "model",
        "model": "m",
        "settings": {"mini_batch_size": 7, "retry_settings": {"timeout": 99}},
    },
    "file",
)


def errors(parameters: dict[str, Any], default: ModelDeployment | None = DEFAULT) -> list[str]:
    schema = parameter_schema(default, ["gbm", "other"])
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
        {"inputs": {"data": ""}},
        {"inputs": {"data": 3}},
        {"inputs": {"a": "x", "b": "y"}},
        {"inputs": {"data": "x"}, "outputs": {"a": "x", "b": "y"}},
        {"inputs": {"data": "x"}, "deployment": "unknown"},
        *(
            {"inputs": {"data": "x"}, "settings": settings}
            for settings in (
                {"mini_batch_size": 0},
                {"mini_batch_size": "many"},
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
    assert parameter_schema(None, [])["properties"]["deployment"].get("enum") is None


def test_the_form_tells_the_default_deployments_settings_and_submits_none() -> None:
    schema = parameter_schema(DEFAULT, ["gbm"])
    settings = schema["definitions"]["Settings"]["properties"]
    assert settings["mini_batch_size"]["description"] == "Number of files in one call of run(). Default: 7."
    assert schema["definitions"]["RetrySettings"]["properties"]["timeout"]["description"].endswith("Default: 99.")
    assert schema["properties"]["deployment"]["description"] == "Deployment to run instead of the default, gbm."
    assert '"default":' not in str(schema).replace("'", '"')
    assert set(settings) == set(JobSettings.model_fields)
