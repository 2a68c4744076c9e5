"""What a pipeline or a component takes and gives: named inputs, data or literal values, and named outputs.

Types, names and rules are those of Azure ML's component schemas (pipelineComponent and commandComponent), with `float`
for `number`, as its documents on batch endpoints call it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..scoring.errors import InvalidDocument
from .settings import Document

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESERVED = {"path", "ld_library_path", "user", "logname", "home", "pwd", "shell"}
"""Names of inputs and outputs that Azure ML refuses: it hands values to steps as environment variables, too."""
LITERALS = {"string", "boolean", "integer", "number"}
LITERAL_TYPES: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
"""What values of Python's types are."""
_A = {"string": "a text", "boolean": "true or false", "integer": "a whole number", "number": "a number"}


def _check_name(value: str) -> str:
    if not _NAME.fullmatch(value) or len(value) > 255:
        raise ValueError("must be letters, digits and underscores, starting with no digit")
    if value.lower() in RESERVED:
        raise ValueError("is reserved: choose another name")
    return value


PortName = Annotated[str, AfterValidator(_check_name)]
"""Name of an input or of an output."""


def _input_type(value: Any) -> Any:
    if value == "mltable":
        raise ValueError("is not supported: write the data as files, and type: uri_folder")
    return {"float": "number", "bool": "boolean", "int": "integer", "str": "string"}.get(str(value), value)


ModelType = Literal["mlflow_model", "custom_model", "triton_model"]
DataType = Literal["uri_folder", "uri_file", ModelType]
MODELS: tuple[str, ...] = get_args(ModelType)
DATA: tuple[str, ...] = get_args(DataType)
InputType = Annotated[DataType | Literal["string", "boolean", "integer", "number"], BeforeValidator(_input_type)]
OutputType = Annotated[DataType, BeforeValidator(_input_type)]
Literals = str | bool | int | float


class InputSpec(Document):
    """One input: data, or a literal value with its bounds."""

    type: InputType = "uri_folder"
    description: str | None = None
    default: Literals | None = None
    optional: bool = False
    min: float | None = None
    max: float | None = None
    enum: list[Any] | None = None
    mode: Literal["ro_mount", "rw_mount", "download", "direct", "eval_mount", "eval_download"] | None = None
    title: str | None = Field(default=None, description="For the Run form.")

    @model_validator(mode="after")
    def _default_that_fits(self) -> InputSpec:
        if not self.is_literal:
            if self.default is not None or self.enum is not None or self.min is not None or self.max is not None:
                raise ValueError(f"default, enum, min and max do not go with type: {self.type}")
            return self
        if self.enum is not None:
            self.enum = [_converted(self.type, value) for value in self.enum]
        if self.default is not None:
            self.default = self.check(self.default)
        return self

    @property
    def is_literal(self) -> bool:
        return self.type in LITERALS

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return not self.optional and self.default is None

    @property
    def expected(self) -> str:
        """What it takes, for people: `a whole number from 1 to 9`, `one of append, prediction_only`."""
        if self.enum is not None:
            return f"one of {', '.join(map(str, self.enum))}"
        bounds = [f"{word} {value:g}" for word, value in (("from", self.min), ("to", self.max)) if value is not None]
        return " ".join([_A.get(self.type, "data"), *bounds])

    def check(self, value: Any) -> Literals:
        """A literal value as it will be used: 5 for a number is 5.0. Raises ValueError saying what came and what fits.

        Text is never read as a number here: who writes text where a number belongs is told so.
        """
        converted = _converted(self.type, value)
        low, high = self.min, self.max
        outside = (
            isinstance(converted, (int, float))
            and not isinstance(converted, bool)
            and ((low is not None and converted < low) or (high is not None and converted > high))
        )
        if outside or (self.enum is not None and converted not in self.enum):
            raise ValueError(f"{value!r} is not {self.expected}")
        return converted


def _converted(kind: str, value: Any) -> Literals:
    fits = {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "integer": not isinstance(value, bool) and (isinstance(value, int) or _is_whole(value)),
        "number": not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value),
    }
    if not fits[kind]:
        raise ValueError(f"{value!r} is not {_A[kind]}")
    return int(value) if kind == "integer" else float(value) if kind == "number" else value


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


class OutputSpec(Document):
    """One output."""

    type: OutputType = "uri_folder"
    mode: Literal["rw_mount", "upload", "direct"] | None = None
    description: str | None = None
    path: str | None = Field(default=None, description="Where it goes when a call does not say.")

    @property
    def is_file(self) -> bool:
        return self.type == "uri_file"


def _specs(value: Any) -> Any:
    """`scores:` without anything after it is an output of the default type."""
    return {name: {} if spec is None else spec for name, spec in value.items()} if isinstance(value, Mapping) else value  # pyright: ignore[reportUnknownVariableType]


Inputs = Annotated[dict[PortName, InputSpec], BeforeValidator(_specs)]
Outputs = Annotated[dict[PortName, OutputSpec], BeforeValidator(_specs)]


class Interface(Document):
    """What a pipeline takes and gives."""

    inputs: Inputs = Field(default_factory=dict[str, InputSpec])
    outputs: Outputs = Field(default_factory=dict[str, OutputSpec])

    @property
    def data_inputs(self) -> list[str]:
        return [name for name, spec in self.inputs.items() if not spec.is_literal]

    @property
    def required(self) -> list[str]:
        """Inputs that a call must give."""
        return [name for name, spec in self.inputs.items() if spec.required]


def check_literal(name: str, spec: InputSpec, value: Any) -> Literals:
    """InputSpec.check() with the input's name. Raises InvalidDocument: `inputs.age: 'x' is not a whole number`."""
    try:
        return spec.check(value)
    except ValueError as error:
        raise InvalidDocument(f"inputs.{name}: {error}") from None
