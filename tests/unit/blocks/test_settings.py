"""Settings: defaults, overrides, threshold, formats."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from prefect_batch.blocks.documents import validate
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
        "output_file_name": None,
        "output_format": None,
        "output_compression": None,
        "output_columns": None,
        "retry_settings": {"max_retries": 3, "timeout": 30},
        "logging_level": "info",
        "node_wait_timeout": 3600,
        "memory_limit": None,
        "environment_variables": {},
    }
    assert (settings.parallelism, settings.file_name) == (1, "predictions.csv")


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
        ({"output_file_name": "x.csv.gz"}, "csv"),
        ({"output_file_name": "x.jsonl.gz"}, "jsonl"),
        ({"output_file_name": "x.CSV.ZST"}, "csv"),
        ({"output_file_name": "x.gz"}, "csv"),
        ({"output_file_name": ""}, "parquet"),
    ],
)
def test_the_files_name_says_the_format(given: dict[str, Any], rows_format: str) -> None:
    assert ModelSettings(**given).rows_format == rows_format


@pytest.mark.parametrize("name", [".", "..", "a/b", "/a", "a\0b", "a\nb", "\x1b[2J", "x" * 251, "ü" * 126])
def test_file_names_that_are_none(name: str) -> None:
    with pytest.raises(ValidationError, match="must be a plain file name"):
        ModelSettings(output_file_name=name)


@pytest.mark.parametrize(
    ("given", "files", "size", "row_count"),
    [
        (1, 1, None, None),
        ("20", 20, None, None),
        (20.0, 20, None, None),
        ("64MB", None, 64_000_000, None),
        (" 64 mb ", None, 64_000_000, None),
        ("1.5 GiB", None, 3 * 2**29, None),
        ("500 kB", None, 500_000, None),
        ("1TiB", None, 2**40, None),
        ("7 B", None, 7, None),
        ("50000 rows", None, None, 50_000),
        ("1 row", None, None, 1),
        ("9Rows", None, None, 9),
    ],
)
def test_mini_batches_by_files_size_or_rows(
    given: Any, files: int | None, size: int | None, row_count: int | None
) -> None:
    for settings in (
        ModelSettings(mini_batch_size=given),
        ModelSettings().overridden(JobSettings(mini_batch_size=given)),
    ):
        assert (settings.batch_files, settings.batch_bytes, settings.batch_rows) == (files, size, row_count)


@pytest.mark.parametrize(
    "given",
    [
        0,
        -1,
        2.5,
        True,
        None,
        "",
        "x",
        "64 M",
        "iB",
        "64 XB",
        "0 MB",
        "0 rows",
        "-5 rows",
        "5 rows 3",
        "MB",
        "9" * 400 + "MB",
    ],
)
def test_mini_batch_sizes_that_mean_nothing(given: Any) -> None:
    with pytest.raises(ValidationError):
        ModelSettings(mini_batch_size=given)


@pytest.mark.parametrize(
    ("given", "name", "compression"),
    [
        ({}, "predictions.csv", None),
        ({"output_file_name": "x.csv.gz"}, "x.csv.gz", "gzip"),
        ({"output_file_name": "x.jsonl.ZST"}, "x.jsonl.ZST", "zstd"),
        ({"output_file_name": "x.csv.gz", "output_compression": "gzip"}, "x.csv.gz", "gzip"),
        ({"output_file_name": "x.csv", "output_compression": "none"}, "x.csv", None),
        ({"output_compression": "gzip"}, "predictions.csv.gz", "gzip"),
        ({"output_format": "parquet"}, "predictions.parquet", "zstd"),
        ({"output_format": "jsonl", "output_compression": "zstd"}, "predictions.jsonl.zst", "zstd"),
        ({"output_compression": "zstd", "output_format": "azureml"}, "predictions.csv.zst", "zstd"),
        ({"output_file_name": "x.parquet"}, "x.parquet", "zstd"),
        ({"output_file_name": "x.parquet", "output_compression": "snappy"}, "x.parquet", "snappy"),
        ({"output_file_name": "x.parquet", "output_compression": "none"}, "x.parquet", None),
        ({"output_file_name": ""}, "", "zstd"),
        ({"output_file_name": "", "output_format": "parquet", "output_compression": "gzip"}, "", "gzip"),
    ],
)
def test_compression(given: dict[str, Any], name: str, compression: str | None) -> None:
    settings = ModelSettings(**given)
    assert (settings.file_name, settings.compression) == (name, compression)
    assert ModelSettings.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"output_file_name": "x.csv", "output_compression": "snappy"},
            "output_compression: snappy is for Parquet, not for csv: use gzip or zstd",
        ),
        (
            {"output_file_name": "x.csv.gz", "output_compression": "zstd"},
            "output_compression: zstd does not go with output_file_name 'x.csv.gz': name it 'x.csv.zst'",
        ),
        ({"output_file_name": "x.csv.gz", "output_compression": "none"}, "name it 'x.csv'$"),
        ({"output_file_name": "x.jsonl", "output_compression": "gzip"}, "name it 'x.jsonl.gz'$"),
        (
            {"output_file_name": "x.parquet.gz"},
            "'x.parquet.gz': Parquet is compressed within the file: name it 'x.parquet' and say output_comp",
        ),
        ({"output_file_name": "x.csv.bz2"}, "ends in .bz2, which is not written: end the name in .gz or .zst"),
        (
            {"output_file_name": "", "output_format": "jsonl"},
            "output_file_name is empty, which means a folder of Parquet parts: name a file, or take output_format",
        ),
        (
            {"output_action": "summary_only", "output_columns": "all"},
            "output_columns has no meaning with output_action",
        ),
        ({"output_action": "summary_only", "output_compression": "gzip"}, "output_compression has no meaning with"),
    ],
)
def test_outputs_that_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDocument, match=said):
        validate(ModelSettings, given, "settings")


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("all", {"input": "all"}),
        ("none", {"input": []}),
        ("id", {"input": ["id"]}),
        (7, {"input": ["7"]}),
        (["id", "all"], {"input": ["id", "all"]}),
        ([], {"input": []}),
        ({}, {}),
        ({"input": "all", "prediction": "score"}, {"input": "all", "prediction": "score"}),
        ({"input": "id", "file": False}, {"input": ["id"], "file": False}),
        ({"input": "none", "row": "false"}, {"input": [], "row": False}),
        ({"input": None}, {}),
    ],
)
def test_output_columns_in_every_spelling(given: Any, normal: dict[str, Any]) -> None:
    settings = validate(ModelSettings, {"output_columns": given}, "settings")
    assert settings.output_columns is not None
    full = {"input": [], "prediction": None, "file": True, "row": True, **normal}
    assert settings.output_columns.model_dump() == full
    assert validate(ModelSettings, settings.model_dump(mode="json"), "stored") == settings


@pytest.mark.parametrize("given", [["id", "id"], [1, None], "", {"prediction": ""}, {"columns": "id"}, 3.5j, [""]])
def test_output_columns_that_mean_nothing(given: Any) -> None:
    with pytest.raises(InvalidDocument, match=r"^settings: output_columns"):
        validate(ModelSettings, {"output_columns": given}, "settings")


def test_a_job_overrides_single_keys_of_output_columns() -> None:
    settings = validate(ModelSettings, {"output_columns": {"input": "all", "prediction": "score", "row": False}}, "s")
    for stored in (settings, ModelSettings.model_validate_json(settings.model_dump_json())):
        merged = stored.overridden(validate(JobSettings, {"output_columns": "id"}, "s")).output_columns
        assert merged is not None
        assert merged.model_dump() == {"input": ["id"], "prediction": "score", "file": True, "row": False}
    plain = ModelSettings.model_validate_json(ModelSettings().model_dump_json())
    merged = plain.overridden(validate(JobSettings, {"output_columns": {"file": False}}, "s")).output_columns
    assert merged is not None
    assert merged.model_dump() == {"input": [], "prediction": None, "file": False, "row": True}


def test_a_job_overrides_the_output() -> None:
    settings = ModelSettings(output_file_name="x.csv.gz", output_compression="gzip")
    folder = settings.overridden(JobSettings(output_file_name=""))
    assert (folder.file_name, folder.rows_format, folder.compression) == ("", "parquet", "gzip")
    with pytest.raises(InvalidDocument, match=r"name it 'y.csv.gz'"):
        settings.overridden(JobSettings(output_file_name="y.csv.zst"))
    with pytest.raises(InvalidDocument, match="means a folder of Parquet parts"):
        ModelSettings(output_file_name="").overridden(JobSettings(output_format="csv"))


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
