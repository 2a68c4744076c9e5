"""Deployment documents: both forms, references, scripts, and errors on one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.deployment import load_deployment, parse_deployment
from prefect_batch.blocks.model_deployment import ModelDeployment
from prefect_batch.scoring.errors import InvalidDocument

BASE = {"name": "gbm", "endpoint_name": "heart", "type": "model", "model": "m"}


def parse(without: str = "", **given: Any) -> ModelDeployment:
    data = {key: value for key, value in {**BASE, **given}.items() if key != without}
    return parse_deployment(data, "d.yml")


def test_nested_form() -> None:
    deployment = parse(
        **{"$schema": "https://x"},
        settings={"mini_batch_size": 3, "retry_settings": {"max_retries": 1}, "environment_variables": {"A": 1}},
        resources={"instance_count": 2, "instance_type": "any"},
    )
    assert (deployment.name, deployment.endpoint_name, deployment.model_reference) == ("gbm", "heart", "m")
    settings = deployment.settings
    assert (settings.mini_batch_size, settings.retry_settings.max_retries, settings.instance_count) == (3, 1, 2)
    assert settings.environment_variables == {"A": "1"}
    assert (deployment.version, deployment.document_name) == (0, "heart--gbm--v0")


def test_flat_legacy_form_means_the_same() -> None:
    flat = parse(
        without="type",
        mini_batch_size=3,
        retry_settings={"timeout": 5},
        error_threshold=7,
        output_action="append_row",
        output_file_name="x.csv",
        logging_level="debug",
        max_concurrency_per_instance=2,
        environment_variables={"A": "1"},
        resources={"instance_count": 4},
    )
    nested = parse(
        settings={
            "mini_batch_size": 3,
            "retry_settings": {"timeout": 5},
            "error_threshold": 7,
            "output_file_name": "x.csv",
            "logging_level": "debug",
            "max_concurrency_per_instance": 2,
            "environment_variables": {"A": "1"},
            "instance_count": 4,
        }
    )
    assert flat.settings == nested.settings
    assert flat.type == "model"


def test_error_threshold_at_the_top_of_a_nested_document() -> None:
    assert parse(error_threshold=3, settings={"mini_batch_size": 2}).settings.error_threshold == 3


def test_azureml_references() -> None:
    deployment = parse(
        model="azureml:heart@latest", compute="azureml:batch-cluster", environment="azureml:env:3", tags={"team": "x"}
    )
    assert (deployment.model_reference, deployment.compute) == ("azureml:heart@latest", "batch-cluster")
    assert deployment.environment == "azureml:env:3"


def test_inline_model() -> None:
    assert parse(model={"path": "model", "type": "mlflow_model"}).model_reference == "model"


def test_another_endpoint() -> None:
    assert parse_deployment({**BASE, "endpoint_name": "other"}, "d.yml", endpoint="heart").endpoint_name == "heart"


def test_the_given_mapping_is_left_alone() -> None:
    data = {**BASE, "resources": {"instance_count": 2}, "settings": {"mini_batch_size": 2}}
    parse_deployment(data, "d.yml", endpoint="abc")
    assert data["endpoint_name"] == "heart" and data["settings"] == {"mini_batch_size": 2}


MAPPING = "must be a mapping of keys to values"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"without": "name"}, "name is missing"),
        ({"without": "endpoint_name"}, "endpoint_name is missing"),
        ({"name": "x"}, "name: 'x' must be 3 to 32 letters, digits and dashes, starting with a letter"),
        ({"name": "bad_name"}, "name: 'bad_name' must be 3 to 32 letters"),
        ({"name": 3}, "name: 3 should be a valid string"),
        (
            {"type": "pipeline"},
            "type: pipeline takes one of flow, component, job_definition: none",
        ),
        ({"type": "modle"}, "type: 'modle' is not known: use type: model"),
        ({"type": ["model"]}, "type: ['model'] is not known: use type: model"),
        ({"modle": "x"}, "modle is not a known key: did you mean model?"),
        ({"unknown-thing": 1}, "unknown-thing is not a known key: known keys are code_configuration, compute, "),
        ({"version": 3}, "version is not a known key: known keys are "),
        ({"model_snapshot": {}}, "model_snapshot is not a known key"),
        ({"without": "type", "settings": {}}, "settings goes with `type: model`: add that line"),
        ({"mini_batch_size": 3}, "mini_batch_size belongs under settings with `type: model`"),
        ({"error_threshold": 3, "settings": {"error_threshold": 4}}, "error_threshold stands at the top and under"),
        ({"settings": [1]}, f"settings: [1] {MAPPING}"),
        ({"settings": {"minibatch": 3}}, "settings.minibatch is not a known key: did you mean mini_batch_size?"),
        ({"settings": {"mini_batch_size": 0}}, "settings.mini_batch_size: 0 should be greater than or equal to 1"),
        ({"settings": {"mini_batch_size": "x"}}, "settings.mini_batch_size: 'x' must be a number of files, a size"),
        ({"settings": {"mini_batch_size": 2.5}}, "settings.mini_batch_size: 2.5 must be a number of files, a size"),
        ({"settings": {"mini_batch_size": True}}, "settings.mini_batch_size: True must be a whole number"),
        (
            {"settings": {"error_threshold": -2}},
            "settings.error_threshold: -2 must be -1 (never fail), a number of files from 0 up, or a percentage",
        ),
        ({"settings": {"error_threshold": "101%"}}, "settings.error_threshold: '101%' must be -1 (never fail)"),
        ({"settings": {"output_action": "x"}}, "settings.output_action: 'x' should be 'append_row' or 'summary_only'"),
        ({"settings": {"output_file_name": "a/b"}}, "settings.output_file_name: 'a/b' must be a plain file name"),
        (
            {"settings": {"output_action": "summary_only", "output_file_name": "x"}},
            "settings: output_file_name has no meaning with output_action summary_only: leave it out",
        ),
        (
            {"settings": {"output_format": "xml"}},
            "settings.output_format: 'xml' should be 'csv', 'parquet', 'jsonl' or",
        ),
        (
            {"settings": {"output_columns": {"inputs": "all"}}},
            "settings.output_columns.inputs is not a known key: did you mean input?",
        ),
        (
            {"settings": {"output_columns": {"row": 3}}},
            "settings.output_columns.row: 3 should be a valid boolean",
        ),
        (
            {"settings": {"output_columns": {"input": {}}}},
            "settings.output_columns.input: must be all, none, the name of a column or a list of names",
        ),
        ({"settings": {"output_columns": True}}, "settings.output_columns.input: True must be all, none, the name of"),
        (
            {"settings": {"output_compression": "lz4"}},
            "settings.output_compression: 'lz4' should be 'none', 'gzip', 'zstd' or 'snappy'",
        ),
        (
            {"settings": {"logging_level": "loud"}},
            "settings.logging_level: 'loud' should be 'warning', 'info' or 'debug'",
        ),
        ({"settings": {"retry_settings": 3}}, f"settings.retry_settings: 3 {MAPPING}"),
        (
            {"settings": {"retry_settings": {"max_retries": 0}}},
            "settings.retry_settings.max_retries: 0 should be greater",
        ),
        (
            {"settings": {"retry_settings": {"timeout": 0}}},
            "settings.retry_settings.timeout: 0 should be greater than 0",
        ),
        (
            {"settings": {"retry_settings": {"retries": 1}}},
            "settings.retry_settings.retries is not a known key: did you",
        ),
        (
            {"settings": {"environment_variables": {"MODEL_PATH": None}}},
            "settings.environment_variables.MODEL_PATH: None should be a valid string",
        ),
        ({"resources": 3}, f"resources: 3 {MAPPING}"),
        ({"resources": {"instances": 2}}, "resources.instances is not a known key: did you mean instance_"),
        ({"resources": {"instance_count": 0}}, "resources.instance_count: 0 should be greater than or equal to 1"),
        (
            {"resources": {"instance_count": 2}, "settings": {"instance_count": 3}},
            "instance_count stands under resources and under settings: keep one",
        ),
        ({"model": {"name": "x"}}, "model.path is missing"),
        ({"model": {"path": "x", "pth": 1}}, "model.pth is not a known key: did you mean path?"),
        ({"model": {"path": "x", "type": "onnx"}}, "model.type: 'onnx' should be 'mlflow_model', 'custom_model' or"),
        ({"code_configuration": {"code": "."}}, "code_configuration.scoring_script is missing"),
        (
            {"code_configuration": {"scoring_script": "x", "cod": 1}},
            "code_configuration.cod is not a known key: did you",
        ),
        ({"code_configuration": "x"}, f"code_configuration: 'x' {MAPPING}"),
        ({"compute": 3}, "compute: 3 should be a valid string"),
        ({"tags": ["a"]}, f"tags: ['a'] {MAPPING}"),
    ],
)
def test_errors_name_file_key_value_and_what_is_allowed_on_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse(**given)
    assert str(caught.value).startswith(f"d.yml: {said}")
    assert "\n" not in str(caught.value)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., ModelDeployment]:
    """Writes a deployment file with a script of this text; loads it."""

    def call(script: str | None, name: str = "score.py", code: str = "code") -> ModelDeployment:
        if script is not None:
            (tmp_path / "code").mkdir()
            (tmp_path / "code" / "score.py").write_text(script)
        path = tmp_path / "deployment.yml"
        path.write_text(
            "name: gbm\nendpoint_name: heart\ntype: model\n"
            f"code_configuration: {{code: {code}, scoring_script: {name}}}\n"
        )
        return load_deployment(path)

    return call


@pytest.mark.parametrize(
    "script",
    [
        "def init(): ...\n\ndef run(mini_batch): ...\n",
        "from helpers import init, run\n",
        "from helpers import start as init, score as run\n",
        "from helpers import *\n",
        "init = lambda: None\nrun = print\n",
        "if True:\n    def init(): ...\n    def run(m): ...\n",
    ],
)
def test_scripts_that_define_both(load: Callable[..., ModelDeployment], script: str) -> None:
    assert load(script).code_configuration is not None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("def init(): ...\n", r"score.py: has no function run\(\): a scoring script defines init\(\) and run\(\)$"),
        ("def run(m): ...\n", r"score.py: has no function init\(\)"),
        ("", r"score.py: has no function init\(\)"),
        ("x = 1\ndef run(m) return\n", r"score.py: line 2: not valid Python: "),
        ("x = '\0'\n", "not valid Python"),
        (None, r"deployment.yml: code_configuration.code: 'code' is not a folder \(looked at /"),
    ],
)
def test_scripts_that_cannot_work(load: Callable[..., ModelDeployment], script: str | None, said: str) -> None:
    with pytest.raises(InvalidDocument, match=said) as caught:
        load(script)
    assert "\n" not in str(caught.value)


def test_a_script_that_is_not_there(load: Callable[..., ModelDeployment]) -> None:
    with pytest.raises(
        InvalidDocument,
        match=r"code_configuration.scoring_script: 'other.py' is not in /.*/code: give its path relative to",
    ):
        load("", name="other.py")


def test_a_document_with_neither_model_nor_script(tmp_path: Path) -> None:
    path = tmp_path / "d.yml"
    path.write_text("name: gbm\nendpoint_name: heart\ntype: model\n")
    with pytest.raises(
        InvalidDocument, match=r"d.yml: model is missing: name an MLflow model, or give code_configuration"
    ):
        load_deployment(path)


def test_name_and_endpoint_from_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "d.yml"
    path.write_text("name: gbm\ntype: model\nmodel: m\n")
    deployment = load_deployment(path, endpoint="heart", name="xgb")
    assert (deployment.endpoint_name, deployment.name) == ("heart", "xgb")
