"""Environments: an image and conda packages under a name, in versions that never change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..scoring.errors import InvalidDocument
from .documents import Text, load_yaml, merged, validate
from .versions import Versioned

_KEYS = {"name", "version", "description", "tags", "properties", "image", "conda_file", "os_type"}
_REFUSED = {
    "build": "images are not built from a Dockerfile: build it yourself and name it under image",
    "inference_config": "is for online endpoints: leave it out",
}


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class Environment(Versioned):
    """One version of a named environment. Immutable: a change makes a new version."""

    _block_type_name = "Batch Environment"
    _block_type_slug = "batch-environment"
    what: ClassVar[str] = "environment"
    group: ClassVar[str] = "environment"

    image: str | None = Field(default=None, description="A container image.")
    conda_file: dict[str, Any] | None = Field(default=None, description="What the conda file said when it was read.")
    os_type: Annotated[Literal["linux"], BeforeValidator(_lower)] = "linux"
    description: str | None = None
    tags: dict[str, Text] = Field(default_factory=dict)
    properties: dict[str, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _something_to_run_in(self) -> Environment:
        if self.image is None and self.conda_file is None:
            raise ValueError("image and conda_file are missing: give one, or both")
        if self.conda_file is not None and not isinstance(self.conda_file.get("dependencies", []), list):
            raise ValueError("conda_file.dependencies: must be a list of packages")
        return self


def parse_environment(data: Mapping[str, Any], where: str, beside: Path) -> Environment:
    """An environment as its user wrote it, with Azure ML's keys (`environment.schema.json`). Raises InvalidDocument.

    Args:
        data: the mapping, `$schema` or not.
        where: the file's name, for messages.
        beside: what a relative path of a conda file starts from.
    """
    given = {key: value for key, value in data.items() if key != "$schema"}
    for key, reason in _REFUSED.items():
        if given.get(key) is not None:
            raise InvalidDocument(f"{where}: {key}: {reason}")
    if isinstance(conda := given.get("conda_file"), str):
        given["conda_file"] = load_yaml(beside / Path(conda).expanduser())
    return validate(Environment, given, where, _KEYS)


def load_environment(path: Path, changes: Mapping[str, Any]) -> Environment:
    """An environment's file; `changes` are laid over its keys. Raises InvalidDocument."""
    return parse_environment(merged(load_yaml(path), changes), str(path), path.parent)
