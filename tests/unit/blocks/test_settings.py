"""Settings: defaults, overrides, threshold, formats."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from prefect_batch.blocks.settings import JobSettings, ModelSettings
from prefect_batch.scoring.errors import InvalidDocument


def test_defaults_are_azures() -> None:
    settings = ModelSettings()
    assert settings.model_dump() == {
        "mini_batch_size": 10,
        "max_concurrency_per_instance": 1,
        "instance_count": 1,
        "error_threshold": -1,
        "output_action": "append_row",
        "output_file_name": "predictions.csv",
        "output_format": None,
        "retry_settings": {"max_retries": 3, "timeout": 30},
        "logging_level": "info",
        "environment_variables": {},
    }
    assert settings.parallelism == 1


@pytest.mark.parametrize(
    ("threshold", "items", "allowed"),
    [
        (-1, 100, float("inf")),
        (0, 100, 0),
        (5, 100, 5),
        ("5", 100, 5),
        ("5%", 100, 5.0),
        ("0%", 100, 0),
        ("100%", 7, 7),
        ("2.5%", 1000, 25),
        ("10%", 5, 0.5),
    ],
)
def test_failures_allowed(threshold: int | str, items: int, allowed: float) -> None:
    assert ModelSettings(error_threshold=threshold).failures_allowed(items) == pytest.approx(allowed)


@pytest.mark.parametrize("threshold", [-2, "-1%", "101%", "5 %", "%", "", 0.5, True, None])
def test_thresholds_that_mean_nothing(threshold: Any) -> None:
    with pytest.raises(ValidationError):
        ModelSettings(error_threshold=threshold)


@pytest.mark.parametrize(
    ("given", "rows_format"),
    [
        ({}, "csv"),
        ({"output_file_name": "x.parquet"}, "parquet"),
        ({"output_file_name": "x.PQT"}, "parquet"),
        ({"output_file_name": "x.jsonl"}, "jsonl"),
        ({"output_file_name": "x.ndjson"}, "jsonl"),
        ({"output_file_name": "x.txt"}, "csv"),
        ({"output_file_name": "parquet"}, "csv"),
        ({"output_file_name": "x.csv", "output_format": "parquet"}, "parquet"),
        ({"output_format": "azureml"}, "azureml"),
    ],
)
def test_the_files_name_says_the_format(given: dict[str, Any], rows_format: str) -> None:
    assert ModelSettings(**given).rows_format == rows_format


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0b", "x" * 251, "ü" * 126])
def test_file_names_that_are_none(name: str) -> None:
    with pytest.raises(ValidationError, match="must be a plain file name"):
        ModelSettings(output_file_name=name)


def test_overrides_are_laid_over_and_validated_again() -> None:
    settings = ModelSettings.model_validate(
        {"mini_batch_size": 5, "retry_settings": {"timeout": 9}, "environment_variables": {"A": 1}}
    )
    overrides = JobSettings.model_validate({"mini_batch_size": "7", "retry_settings": {"max_retries": 1}})
    merged = settings.overridden(overrides)
    assert (merged.mini_batch_size, merged.retry_settings.max_retries, merged.retry_settings.timeout) == (7, 1, 9)
    assert merged.environment_variables == {"A": "1"}
    assert settings.mini_batch_size == 5
    assert settings.overridden(JobSettings()) == settings


def test_summary_only_has_no_file_name() -> None:
    with pytest.raises(ValidationError, match="output_file_name has no meaning with output_action summary_only"):
        ModelSettings(output_action="summary_only", output_file_name="x.csv")
    settings = ModelSettings(output_action="summary_only")
    with pytest.raises(InvalidDocument, match="settings: output_file_name has no meaning"):
        settings.overridden(JobSettings(output_file_name="x.csv"))
    assert settings.overridden(JobSettings(mini_batch_size=3)).mini_batch_size == 3


def test_settings_survive_being_stored() -> None:
    for settings in (ModelSettings(), ModelSettings(output_action="summary_only"), ModelSettings(error_threshold="5%")):
        assert ModelSettings.model_validate_json(settings.model_dump_json()) == settings
        assert ModelSettings.model_validate(settings.model_dump(mode="json")).overridden(JobSettings()) == settings


def test_azures_spelling() -> None:
    settings = ModelSettings.model_validate({"output_action": "Append_Row", "logging_level": "WARNING"})
    assert (settings.output_action, settings.logging_level) == ("append_row", "warning")


def test_parallelism() -> None:
    assert ModelSettings(instance_count=3, max_concurrency_per_instance=4).parallelism == 12
