"""The settings of a model deployment, and what one job may override of them.

Names, defaults and ranges are those of Azure ML batch deployments, with two additions: an error threshold may be a
percentage, and output_format says how rows are written.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from .documents import validate

DEFAULT_FILE_NAME = "predictions.csv"


class Document(BaseModel):
    """Base of all that a user writes: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


_PERCENT = r"\d+(\.\d+)?%"


def _threshold(value: int | str) -> int | str:
    bad = value < -1 if isinstance(value, int) else not re.fullmatch(_PERCENT, value) or float(value[:-1]) > 100
    if bad:
        raise ValueError("must be -1 (never fail), a number of files from 0 up, or a percentage like '5%'")
    return value


def _file_name(value: str) -> str:
    # 250: a marker of the same name with a few letters more lies beside it while the job runs
    if not value or value in (".", "..") or "/" in value or "\0" in value or len(value.encode()) > 250:
        raise ValueError("must be a plain file name, without a folder")
    return value


def _text(value: Any) -> Any:
    """A number in YAML is meant as the text it was written as."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _whole_number(value: Any) -> Any:
    """'20' is 20, as CLI and REST callers send it."""
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


Whole = BeforeValidator(_whole_number)
MiniBatchSize = Annotated[int, Field(ge=1, description="Number of files in one call of run()."), Whole]
Concurrency = Annotated[int, Field(ge=1, description="Scoring processes on each instance."), Whole]
InstanceCount = Annotated[int, Field(ge=1, description="Instances of the compute cluster that a job takes."), Whole]
ErrorThreshold = Annotated[
    # The schemas are what a form can check; the validator's message says more than two branches of a union would.
    Annotated[int, WithJsonSchema({"type": "integer", "minimum": -1, "title": "files"})]
    | Annotated[str, WithJsonSchema({"type": "string", "pattern": rf"^{_PERCENT}$", "title": "percentage"})],
    Field(
        description="Failed files of the whole input that a job survives: a number, or a percentage like '5%'. "
        "0 ends it at the first failed file; -1 never ends it, unless every file failed."
    ),
    AfterValidator(_threshold),
    Whole,
]
OutputFileName = Annotated[
    str,
    AfterValidator(_file_name),
    Field(description="File that the rows are written to; .parquet and .jsonl say so, all else is CSV."),
]
LoggingLevel = Annotated[
    Literal["warning", "info", "debug"],
    BeforeValidator(_lower),
    Field(description="What of the script's output also goes to the job's log."),
]
MaxRetries = Annotated[int, Field(ge=1, description="Attempts at one mini-batch in all: 3 is three runs."), Whole]
Timeout = Annotated[
    float, Field(gt=0, le=259_200, description="Seconds that one call of run() may take; at most 3 days.")
]


class RetrySettings(Document):
    """How often a mini-batch is tried, and for how long."""

    max_retries: MaxRetries = 3
    timeout: Timeout = 30


class ModelSettings(Document):
    """`settings:` of a deployment of type model."""

    mini_batch_size: MiniBatchSize = 10
    max_concurrency_per_instance: Concurrency = 1
    instance_count: InstanceCount = 1
    error_threshold: ErrorThreshold = -1
    output_action: Annotated[Literal["append_row", "summary_only"], BeforeValidator(_lower)] = "append_row"
    output_file_name: OutputFileName | None = Field(default=None, description="predictions.csv, for append_row.")
    output_format: Literal["csv", "parquet", "jsonl", "azureml"] | None = Field(
        default=None, description="By default the ending of output_file_name decides; azureml is Azure ML's layout."
    )
    retry_settings: RetrySettings = Field(default_factory=RetrySettings)
    logging_level: LoggingLevel = "info"
    environment_variables: dict[str, Annotated[str, BeforeValidator(_text)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _file_name_with_rows(self) -> ModelSettings:
        if self.output_action == "append_row":
            self.output_file_name = self.output_file_name or DEFAULT_FILE_NAME
        elif self.output_file_name is not None:
            raise ValueError("output_file_name has no meaning with output_action summary_only: leave it out")
        return self

    @property
    def rows_format(self) -> str:
        """csv, parquet, jsonl or azureml."""
        if self.output_format is not None:
            return self.output_format
        ending = PurePosixPath(self.output_file_name or "").suffix.lower()
        return {".parquet": "parquet", ".pqt": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}.get(ending, "csv")

    @property
    def parallelism(self) -> int:
        """Scoring processes that a job has at most."""
        return self.instance_count * self.max_concurrency_per_instance

    def overridden(self, overrides: JobSettings) -> ModelSettings:
        """These settings with one job's overrides laid over them, validated again. Raises InvalidDocument."""
        merged = self.model_dump(exclude_unset=True)
        for key, value in overrides.model_dump(exclude_none=True).items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
        return validate(ModelSettings, merged, "settings")

    def failures_allowed(self, items: int) -> float:
        """Failed items that a job of `items` items survives; infinite for -1."""
        if isinstance(self.error_threshold, str):
            return float(self.error_threshold[:-1]) / 100 * items
        return float("inf") if self.error_threshold < 0 else self.error_threshold


class JobRetrySettings(Document):
    """Overrides of retry_settings."""

    max_retries: MaxRetries | None = None
    timeout: Timeout | None = None


class JobSettings(Document):
    """What one job may override of its deployment's settings; the deployment itself is not changed."""

    mini_batch_size: MiniBatchSize | None = None
    instance_count: InstanceCount | None = None
    max_concurrency_per_instance: Concurrency | None = None
    error_threshold: ErrorThreshold | None = None
    output_file_name: OutputFileName | None = None
    retry_settings: JobRetrySettings | None = None
    logging_level: LoggingLevel | None = None
