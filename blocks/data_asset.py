"""Data assets: names for data, in versions that never change."""

from __future__ import annotations

import difflib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from pydantic import AfterValidator, BeforeValidator, Field

from ..scoring.errors import AlreadyExists, InvalidDocument, NotFound
from . import store
from .documents import Text, as_text, load_yaml, validate
from .names import AssetName, document_name

LATEST = "latest"
_KEYS = {"name", "version", "description", "tags", "properties", "type", "path"}
_REFUSED = {
    "mltable": "write the data as files, and type: uri_folder",
    "tabular": "v1 datasets are not supported: write type: uri_folder and the folder that holds the files",
    "file": "v1 datasets are not supported: write type: uri_folder and the folder that holds the files",
}


def _version(value: str) -> str:
    if value.lower() == LATEST:
        raise ValueError("is what the label means: choose another, or leave version out")
    return value


class DataAsset(Block):
    """One version of a named file or folder of data. Immutable: a change makes a new version."""

    _block_type_name = "Batch Data Asset"
    _block_type_slug = "batch-data-asset"

    name: AssetName
    version: Annotated[AssetName, BeforeValidator(as_text), AfterValidator(_version)] | None = Field(
        default=None, description="By default the next."
    )
    type: Literal["uri_file", "uri_folder"] = "uri_folder"
    path: str = Field(description="As it was given.")
    reference: str | None = Field(default=None, description="What opens the place anywhere.")
    description: str | None = None
    tags: dict[str, Text] = Field(default_factory=dict)
    properties: dict[str, Text] = Field(default_factory=dict)
    created_at: datetime | None = Field(default=None, description="By the server's clock.")
    archived: bool = Field(default=False, description="Not listed, and never the latest.")

    @property
    def document_name(self) -> str:
        """Name of the block document of this version."""
        return document_name(self.name, str(self.version))

    @property
    def label(self) -> str:
        """`azureml:<name>:<version>`, which means this version from anywhere."""
        return f"azureml:{self.name}:{self.version}"


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


def load_data_asset(path: Path, **given: Any) -> DataAsset:
    """A data asset's file; `given` takes the place of its keys. Raises InvalidDocument."""
    return parse_data_asset(load_yaml(path) | given, str(path))


def create_version(client: SyncPrefectClient, asset: DataAsset) -> DataAsset:
    """Save an asset under its version, or under the next whole number; two callers at once get two versions.

    Raises AlreadyExists for a version that is taken: versions never change.
    """
    if asset.version is not None:
        try:
            store.create(asset, asset.document_name, client)
        except AlreadyExists:
            raise AlreadyExists(
                f"data asset {asset.name!r} has a version {asset.version} already, and versions never change: "
                "leave version out to get the next"
            ) from None
        return find_data_asset(client, asset.name, asset.version)
    while True:
        held = [one.version or "" for one in versions(client, asset.name)]
        number = max((int(version) for version in held if version.isdecimal()), default=0) + 1
        candidate = asset.model_copy(update={"version": str(number)})
        try:
            store.create(candidate, candidate.document_name, client)
        except AlreadyExists:
            continue
        return find_data_asset(client, asset.name, str(number))


def versions(client: SyncPrefectClient, name: str) -> list[DataAsset]:
    """All versions of an asset, archived ones too, oldest first."""
    return _dated(client, name=name)


def list_data_assets(client: SyncPrefectClient) -> list[DataAsset]:
    """All versions of all assets, archived ones too, by name, oldest first."""
    return sorted(_dated(client), key=lambda asset: asset.name)


def _dated(client: SyncPrefectClient, **equal: Any) -> list[DataAsset]:
    found = store.list_dated(DataAsset, client, **equal)
    found.sort(key=lambda entry: entry[1])
    return [asset.model_copy(update={"created_at": created}) for asset, created in found]


def find_data_asset(
    client: SyncPrefectClient, name: str, version: str | None = None, label: str | None = None
) -> DataAsset:
    """One version of an asset: the named one, or for the label `latest` (or nothing) the one created last.

    An archived version is found by its number only. Raises NotFound naming what there is.
    """
    held = versions(client, name)
    if not held:
        raise NotFound(f"data asset {name!r} does not exist{_known(client, name)}")
    if version is not None:
        if found := [asset for asset in held if asset.version == version]:
            return found[0]
        raise NotFound(f"data asset {name!r} has no version {version!r}: it has {_numbers(held)}")
    if label not in (None, LATEST):
        raise NotFound(f"data asset {name!r} has no label {label!r}: write @latest, or a version ({_numbers(held)})")
    current = [asset for asset in held if not asset.archived]
    if not current:
        raise NotFound(
            f"data asset {name!r} has archived versions only ({_numbers(held)}): name one, or bring it back with "
            f"`prefect-batch data restore {name} --version VERSION`"
        )
    return current[-1]


def _numbers(assets: list[DataAsset]) -> str:
    shown = ", ".join(f"{asset.version} (archived)" if asset.archived else str(asset.version) for asset in assets[-20:])
    return f"..., {shown}" if len(assets) > 20 else shown


def _known(client: SyncPrefectClient, name: str) -> str:
    names = list(dict.fromkeys(asset.name for asset in list_data_assets(client)))
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f": did you mean {close[0]}?"
    make = "make it with `prefect-batch data create`"
    return f" (there are: {', '.join(names[:20])}): {make}" if names else f", and no other: {make}"


def set_archived(client: SyncPrefectClient, name: str, version: str | None, archived: bool) -> list[DataAsset]:
    """Archive or restore one version of an asset, or all; returns them. Raises NotFound."""
    chosen = [find_data_asset(client, name, version)] if version is not None else versions(client, name)
    if not chosen:
        find_data_asset(client, name)  # says what there is instead
    for asset in chosen:
        store.patch(DataAsset, asset.document_name, {"archived": archived}, client)
    return [asset.model_copy(update={"archived": archived}) for asset in chosen]
