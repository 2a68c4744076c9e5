"""Data assets: names for data, in versions that never change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from ..scoring.errors import InvalidDocument
from .documents import Text, load_yaml, merged, validate
from .versions import Versioned

_KEYS = {"name", "version", "description", "tags", "properties", "type", "path"}
_REFUSED = {
    "mltable": "write the data as files, and type: uri_folder",
    "tabular": "v1 datasets are not supported: write type: uri_folder and the folder that holds the files",
    "file": "v1 datasets are not supported: write type: uri_folder and the folder that holds the files",
}


class DataAsset(Versioned):
    """One version of a named file or folder of data. Immutable: a change makes a new version."""

    _block_type_name = "Batch Data Asset"
    _block_type_slug = "batch-data-asset"
    what: ClassVar[str] = "data asset"
    group: ClassVar[str] = "data"

    type: Literal["uri_file", "uri_folder"] = "uri_folder"
    path: str = Field(description="As it was given.")
    reference: str | None = Field(default=None, description="What opens the place anywhere.")
    description: str | None = None
    tags: dict[str, Text] = Field(default_factory=dict)
    properties: dict[str, Text] = Field(default_factory=dict)


def parse_data_asset(data: dict[str, Any], where: str) -> DataAsset:
    """A data asset as its user wrote it, with Azure ML's keys (`data.schema.json`). Raises InvalidDocument.

    Args:
        data: the mapping, `$schema` or not.
        where: the file's name, for messages.
    """
    data = {key: value for key, value in data.items() if key != "$schema"}
    kind = data.get("type")
    if isinstance(kind, str) and kind.lower() in _REFUSED:
        raise InvalidDocument(f"{where}: type: {kind} is not supported: {_REFUSED[kind.lower()]}")
    return validate(DataAsset, data, where, _KEYS)


def load_data_asset(path: Path, changes: Mapping[str, Any]) -> DataAsset:
    """A data asset's file; `changes` are laid over its keys. Raises InvalidDocument."""
    return parse_data_asset(merged(load_yaml(path), changes), str(path))
