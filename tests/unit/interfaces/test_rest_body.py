"""Bodies of calls as the gateway reads them."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_batch.interfaces.rest_body import params_of, parse_json, read_call
from prefect_batch.scoring.errors import InvalidDocument

FOLDER = {"JobInputType": "UriFolder", "Uri": "x"}


def test_settings_of_azure_are_ours():
    properties: dict[str, Any] = {
        "InputData": {"d": FOLDER},
        "miniBatchSize": 5,
        "errorThreshold": -1,
        "OutputFileName": "a.csv",
        "loggingLevel": "Info",
        "retrySettings": {"maxRetries": 2, "timeout": "PT1M30S"},
        "compute": {"instanceCount": 3, "target": "batch-cluster"},
        "Properties": {"experimentName": "one"},
        "Name": "mine",
    }
    call = read_call({"properties": properties})
    assert call.inputs == {"d": {"type": "uri_folder", "path": "x"}} and call.name == "mine"
    assert call.settings == {
        "mini_batch_size": 5,
        "error_threshold": -1,
        "output_file_name": "a.csv",
        "logging_level": "info",
        "instance_count": 3,
        "retry_settings": {"max_retries": 2, "timeout": 90.0},
    }


def test_literals_are_parameters_of_a_model():
    body = {"properties": {"InputData": {"d": FOLDER, "alpha": {"jobinputtype": "LITERAL", "value": "1"}}}}
    assert params_of(read_call(body).inputs) == {"d": {"type": "uri_folder", "path": "x"}, "params": {"alpha": "1"}}
    assert params_of({"d": "x", "params": {"a": 1}}) == {"d": "x", "params": {"a": 1}}


def test_outputs():
    body = {"properties": {"OutputData": {"score": {"jobOutputType": "UriFile"}, "b": {"joboutputtype": "uri_folder"}}}}
    assert read_call(body).outputs == {"score": {"type": "uri_file"}, "b": {"type": "uri_folder"}}


def test_plain_values_stay_as_they_are():
    inputs = {"a": [1, {"b": None}], "C": {"path": "x", "include": "*.csv"}, "d": None}
    call = read_call({"Inputs": inputs, "settings": {"MiniBatchSize": 1}}, "GBM")
    assert (call.inputs, call.settings, call.deployment) == (inputs, {"MiniBatchSize": 1}, "gbm")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"properties": {"InputData": {"d": {"JobInputType": "Literal"}}}}, "Value is missing"),
        ({"properties": {"InputData": {"d": {**FOLDER, "Path": "y"}}}}, "did you mean|known are"),
        ({"properties": {"OutputData": {"d": {"JobOutputType": "Literal", "Value": 1}}}}, "not supported"),
        ({"properties": {"RetrySettings": {"Timeout": "P1Z"}}}, "no duration"),
        ({"properties": {}, "inputs": {}}, "properties is not a known key"),
        ({"deployment": ""}, "1 to 200"),
        ({"name": "n" * 201}, "1 to 200"),
        ({"inputs": {}, "Inputs": {}}, "twice"),
    ],
)
def test_what_is_no_call(body: dict[str, Any], says: str):
    with pytest.raises(InvalidDocument, match=says):
        read_call(body)


@pytest.mark.parametrize("body", [b'{"input": [%s1]}' % (b"1," * 10_000), b'{"input": [%s[]]}' % (b"[0],[{}]," * 5000)])
def test_a_body_of_very_many_values_is_refused(body: bytes):
    with pytest.raises(InvalidDocument, match="more than 10000 values"):
        parse_json(body)
    assert parse_json(b'{"input": [%s1]}' % (b"1," * 9000))
