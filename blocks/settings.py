"""The settings of a model deployment, and what one job may override of them.

Names, defaults and ranges are those of Azure ML batch deployments, with these additions: mini_batch_size may be a size
or a number of rows, error_threshold a percentage, output_format, output_compression and output_columns say what the
output looks like, node_wait_timeout how long a job waits for nodes, and memory_limit what a scoring process may hold.
"""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from .documents import Text, as_text, validate

DEFAULT_FILE_STEM = "predictions"
_CODECS = {".gz": "gzip", ".zst": "zstd"}
_ENDINGS = {codec: ending for ending, codec in _CODECS.items()}


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
    if value in (".", "..") or "/" in value or not value.isprintable() or len(value.encode()) > 250:
        raise ValueError("must be a plain file name, without a folder, on one line")
    if (ending := PurePosixPath(value).suffix.lower()) in (".bz2", ".xz", ".zip"):
        raise ValueError(f"ends in {ending}, which is not written: end the name in .gz or .zst")
    return value


def _whole_number(value: Any) -> Any:
    """'20' is 20, as CLI and REST callers send it."""
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return int(value) if isinstance(value, float) and value.is_integer() else value


_UNITS = {"B": 1} | {f"{p}{i}B": (1024 if i else 1000) ** n for n, p in enumerate("KMGT", 1) for i in ("", "I")}
_SIZE = rf"([0-9]+(?:[.][0-9]+)?) ?({'|'.join(_UNITS)})"
_ROWS = r"([0-9]+) ?rows?"
_PATTERN = rf"^(?i:{_SIZE}|{_ROWS})$"  # an error in the Run form shows it: readable


def _size(value: str) -> int | None:
    """Bytes of a size like '64MB' or '1.5 GiB': powers of 1000, of 1024 with an i. None for what is none."""
    if (match := re.fullmatch(_SIZE, value, re.IGNORECASE)) is None:
        return None
    size = float(match[1]) * _UNITS[match[2].upper()]
    return int(size) if math.isfinite(size) else None


def _row_count(value: str) -> int | None:
    return int(match[1]) if (match := re.fullmatch(_ROWS, value, re.IGNORECASE)) else None


def _mini_batch_size(value: Any) -> Any:
    value = _whole_number(value.strip() if isinstance(value, str) else value)
    measured: Any = value
    if isinstance(value, str):
        measured = _row_count(value) if _size(value) is None else _size(value)
    if not isinstance(measured, int):
        raise ValueError("must be a number of files, a size like '64MB' or a number of rows like '50000 rows'")
    if measured < 1:
        raise ValueError("should be greater than or equal to 1")
    return value


Whole = BeforeValidator(_whole_number)
MiniBatchSize = Annotated[
    Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1, "title": "files"})]
    | Annotated[str, WithJsonSchema({"type": "string", "pattern": _PATTERN, "title": "size or rows"})],
    Field(
        description="What one call of run() gets: a number of files, a size like '64MB' or a number of rows like "
        "'50000 rows'. With a size or rows, large tables are split and small files are packed together."
    ),
    BeforeValidator(_mini_batch_size),
]
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
    Field(
        description="File that the rows are written to; .parquet and .jsonl say so, all else is CSV, and .gz or .zst "
        "behind it compresses. Empty: a folder of Parquet parts."
    ),
]
OutputFormat = Annotated[
    Literal["csv", "parquet", "jsonl", "azureml"],
    Field(description="By default the ending of output_file_name decides; azureml is Azure ML's layout."),
]
OutputCompression = Annotated[
    Literal["none", "gzip", "zstd", "snappy"],
    Field(description="By default the ending of output_file_name decides, and Parquet is compressed with zstd."),
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


def _memory(value: Any) -> Any:
    size = _size(value.strip()) if isinstance(value, str) else value
    if not isinstance(size, int) or isinstance(size, bool) or size < 2**20:
        raise ValueError("must be a size like '2 GiB' or '500MB', of 1 MiB or more")
    return value


MemoryLimit = Annotated[
    str,
    BeforeValidator(_memory),
    WithJsonSchema({"type": "string", "pattern": f"^(?i:{_SIZE})$"}),
    Field(
        description="Memory that each scoring process may hold, like '2 GiB'. One that holds more is ended, and its "
        "mini-batch has failed."
    ),
]
NodeWaitTimeout = Annotated[
    float,
    Field(gt=0, description="Seconds that a job waits for an instance where it has none left; then it fails."),
]


class RetrySettings(Document):
    """How often a mini-batch is tried, and for how long."""

    max_retries: MaxRetries = 3
    timeout: Timeout = 30


def _input_columns(value: Any) -> Any:
    if value is None or value == "none":
        return []
    if value == "all":
        return value
    names: Any = [as_text(name) for name in value] if isinstance(value, list) else [as_text(value)]  # pyright: ignore[reportUnknownVariableType]
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError("must be all, none, the name of a column or a list of names")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{twice[0]} stands twice")
    return names


class OutputColumns(Document):
    """What stands beside the prediction in each row of the output."""

    input: Annotated[Literal["all"] | list[str], BeforeValidator(_input_columns)] = Field(
        default_factory=list[str], description="Input columns: all, none, the name of one, or a list of names."
    )
    prediction: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="The prediction's name; of several columns it stands in front: score_setosa."
    )
    file: bool = Field(default=True, description="The file that the row is of, as file_name. Default: true.")
    row: bool = Field(default=True, description="The number of the row within its file, from 0. Default: true.")


def _output_columns(value: Any) -> Any:
    """all, none, a name or a list of names is short for `input:` of it."""
    return cast("Any", {"input": value} if isinstance(value, (str, int, float, list)) else value)


BOOLEAN_SCHEMA: dict[str, Any] = {"enum": [True, False]}
"""A choice in the Run form, which may stay open: the switch of type boolean shows an untouched true as false."""

_NAMES: list[dict[str, Any]] = [
    {"title": "all, none or a name", "type": "string", "minLength": 1},
    {"title": "names", "type": "array", "items": {"type": "string", "minLength": 1}},
]
_COLUMNS_SCHEMA: dict[str, Any] = {
    "description": "What stands beside the prediction: input columns (all, none, a name or a list of names), or a "
    "mapping of input, prediction (its name), file and row.",
    "anyOf": [
        *_NAMES,
        {
            "title": "more",
            "type": "object",
            "additionalProperties": False,
            "properties": {
                name: {"title": name, "description": field.description, **schema}
                for (name, field), schema in zip(
                    OutputColumns.model_fields.items(),
                    [{"anyOf": _NAMES}, {"type": "string", "minLength": 1}, BOOLEAN_SCHEMA, BOOLEAN_SCHEMA],
                    strict=True,
                )
            },
        },
    ],
}
OutputColumnsSetting = Annotated[OutputColumns, BeforeValidator(_output_columns), WithJsonSchema(_COLUMNS_SCHEMA)]


class ModelSettings(Document):
    """`settings:` of a deployment of type model."""

    mini_batch_size: MiniBatchSize = 10
    max_concurrency_per_instance: Concurrency = 1
    instance_count: InstanceCount = 1
    error_threshold: ErrorThreshold = -1
    output_action: Annotated[Literal["append_row", "summary_only"], BeforeValidator(_lower)] = "append_row"
    output_file_name: OutputFileName | None = None
    output_format: OutputFormat | None = None
    output_compression: OutputCompression | None = None
    output_columns: OutputColumnsSetting | None = None
    retry_settings: RetrySettings = Field(default_factory=RetrySettings)
    logging_level: LoggingLevel = "info"
    node_wait_timeout: NodeWaitTimeout = 3600
    memory_limit: MemoryLimit | None = None
    environment_variables: dict[str, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _output_that_can_be(self) -> ModelSettings:
        if self.output_action == "append_row":
            _check_output(self.file_name or "", self.rows_format, self.output_compression)
            return self
        for name in ("output_file_name", "output_compression", "output_columns"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} has no meaning with output_action summary_only: leave it out")
        return self

    @property
    def file_name(self) -> str | None:
        """The output file's name: as given, or one that goes with the format.

        Empty for a folder of Parquet parts; None where only the script writes.
        """
        if self.output_action == "summary_only" or self.output_file_name is not None:
            return self.output_file_name
        if self.output_format == "parquet":
            return f"{DEFAULT_FILE_STEM}.parquet"
        ending = ".jsonl" if self.output_format == "jsonl" else ".csv"
        return DEFAULT_FILE_STEM + ending + _ENDINGS.get(self.output_compression or "", "")

    @property
    def rows_format(self) -> str:
        """csv, parquet, jsonl or azureml."""
        if self.output_format is not None:
            return self.output_format
        if self.output_file_name == "":
            return "parquet"
        name, _ = _split_compression(self.output_file_name or "")
        ending = PurePosixPath(name).suffix.lower()
        return {".parquet": "parquet", ".pqt": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}.get(ending, "csv")

    @property
    def compression(self) -> str | None:
        """gzip, zstd, snappy or None: of the whole file, or within a Parquet file."""
        if self.output_compression is not None:
            return None if self.output_compression == "none" else self.output_compression
        return "zstd" if self.rows_format == "parquet" else _split_compression(self.file_name or "")[1]

    @property
    def batch_files(self) -> int | None:
        """Files of a mini-batch; None when it is given as a size or in rows."""
        return self.mini_batch_size if isinstance(self.mini_batch_size, int) else None

    @property
    def batch_bytes(self) -> int | None:
        """Bytes of a mini-batch; None when it is given otherwise."""
        return _size(self.mini_batch_size) if isinstance(self.mini_batch_size, str) else None

    @property
    def batch_rows(self) -> int | None:
        """Rows of a mini-batch; None when it is given otherwise."""
        return _row_count(self.mini_batch_size) if isinstance(self.mini_batch_size, str) else None

    @property
    def memory_bytes(self) -> int | None:
        """That a scoring process may hold; None where no limit is set."""
        return _size(self.memory_limit) if self.memory_limit is not None else None

    @property
    def parallelism(self) -> int:
        """Scoring processes that a job has at most."""
        return self.instance_count * self.max_concurrency_per_instance

    def overridden(self, overrides: JobSettings) -> ModelSettings:
        """These settings with one job's overrides laid over them, validated again. Raises InvalidDocument."""
        merged = self.model_dump(exclude_unset=True)
        for key, value in overrides.model_dump(exclude_none=True, exclude_unset=True).items():
            merged[key] = {**(merged.get(key) or {}), **value} if isinstance(value, dict) else value
        return validate(ModelSettings, merged, "settings")

    def failures_allowed(self, items: int) -> float:
        """Failed items that a job of `items` items survives; infinite for -1."""
        if isinstance(self.error_threshold, str):
            return float(self.error_threshold[:-1]) / 100 * items
        return float("inf") if self.error_threshold < 0 else self.error_threshold


def _split_compression(name: str) -> tuple[str, str | None]:
    """A file name without its compression's ending, and that compression."""
    path = PurePosixPath(name)
    codec = _CODECS.get(path.suffix.lower())
    return (path.stem, codec) if codec else (name, None)


def _check_output(name: str, rows_format: str, compression: str | None) -> None:
    """Refuse a name, a format and a compression that contradict each other."""
    plain, named = _split_compression(name)
    if name == "" and rows_format != "parquet":
        raise ValueError(
            f"output_file_name is empty, which means a folder of Parquet parts: name a file, or take output_format "
            f"{rows_format} out"
        )
    if rows_format == "parquet":
        if named:
            raise ValueError(
                f"output_file_name: {name!r}: Parquet is compressed within the file: name it {plain!r} and say "
                f"output_compression: {named}"
            )
        return
    if compression == "snappy":
        raise ValueError(f"output_compression: snappy is for Parquet, not for {rows_format}: use gzip or zstd")
    if compression is not None and compression != (named or "none"):
        meant = plain + _ENDINGS.get(compression, "")
        raise ValueError(
            f"output_compression: {compression} does not go with output_file_name {name!r}: name it {meant!r}"
        )


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
    output_format: OutputFormat | None = None
    output_compression: OutputCompression | None = None
    output_columns: OutputColumnsSetting | None = None
    retry_settings: JobRetrySettings | None = None
    logging_level: LoggingLevel | None = None
    node_wait_timeout: NodeWaitTimeout | None = None
    memory_limit: MemoryLimit | None = None
