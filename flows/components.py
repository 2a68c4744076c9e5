"""Components made whole: with copies of their code and of the fixed assets that their steps take.

What is stored, and what a deployment runs, needs nothing that may still change: no file of whoever made it, and no
other component.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient

from ..blocks.component import Asset, CommandComponent, Component, PipelineComponent, Step
from ..blocks.component_file import Find, Loaded, load_component
from ..blocks.datastore import Datastore, default_datastore
from ..blocks.documents import Where, validate
from ..blocks.graph import bound
from ..blocks.interface import MODELS, InputSpec
from ..blocks.model_source import is_registered
from ..blocks.references import LocalPath, parse
from ..blocks.snapshot import take
from ..blocks.versions import create_version, find_version
from ..scoring.errors import BatchError, InvalidDocument, NotFound
from .locations import locate
from .upload import upload, upload_model

CODE = "code"
"""What every copy of code is called, so that a copy's digest says nothing but what is in it."""


def finder(client: SyncPrefectClient | None) -> Find:
    """Looks registered components up; without a server there are none."""

    def find(name: str, version: str | None, label: str | None) -> Component:
        if client is None:
            raise InvalidDocument(f"component {name!r} is kept by a server, and a trial run has none: name its file")
        return find_version(Component, client, name, version, label)

    return find


def whole(
    loaded: Loaded, client: SyncPrefectClient | None, datastore: Datastore
) -> CommandComponent | PipelineComponent:
    """A component with all that it needs in the datastore. Raises BatchError.

    Args:
        loaded: as its files say.
        client: of the Prefect server; None for a trial run without one.
        datastore: where copies go.
    """
    if loaded.stored:
        return loaded.component
    if isinstance(loaded.component, CommandComponent):
        return _with_code(loaded.component, loaded.where, datastore)
    jobs: dict[str, Step] = {}
    for name, step in loaded.component.jobs.items():
        where = loaded.where.at("jobs", name)
        inputs = {
            key: _fixed(value, step.component.inputs[key], where.at("inputs", key), loaded.folder, client, datastore)
            if isinstance(value, Asset)
            else value
            for key, value in step.inputs.items()
        }
        component = _with_code(step.component, where, datastore)
        jobs[name] = step.model_copy(update={"inputs": inputs, "component": component})
    return loaded.component.model_copy(update={"jobs": jobs})


def _with_code(component: CommandComponent, where: Where, datastore: Datastore) -> CommandComponent:
    if component.code is None or component.code_snapshot is not None:
        return component
    code = Path(component.code)
    with _named(where.at("code")):
        return component.model_copy(update={"code": code.name, "code_snapshot": take(code, datastore, CODE)})


def _fixed(
    asset: Asset, spec: InputSpec, where: Where, folder: Path, client: SyncPrefectClient | None, datastore: Datastore
) -> Asset:
    """A fixed asset that opens anywhere: what is local, and every model, is copied; other data stays where it is."""
    if bound(asset) is not None or asset.path is None:
        return asset
    kind, path = asset.type or spec.type, asset.path
    with _named(where):
        if kind in MODELS and is_registered(path):
            path = upload_model(path, datastore)
        elif isinstance(pointer := parse(path), LocalPath):
            local = Path(os.path.normpath(folder.absolute() / Path(pointer.path).expanduser()))
            _check_kind(local, kind, asset.path)
            path = upload_model(str(local), datastore) if kind in MODELS else upload(local, datastore)
        else:
            locate(path, client)
    return asset.model_copy(update={"type": kind, "path": path})


def _check_kind(local: Path, kind: str, given: str) -> None:
    if not local.exists():
        raise NotFound(f"path: {given!r} does not exist (looked for {local})")
    if kind != "custom_model" and local.is_dir() == (kind == "uri_file"):
        raise InvalidDocument(f"path: {given!r} is a {'folder' if local.is_dir() else 'file'}, and no {kind}")


@contextmanager
def _named(where: Where) -> Generator[None]:
    """Errors within say where in the document their cause stands."""
    try:
        yield
    except BatchError as error:
        raise type(error)(f"{where}: {error}") from None


def create_component(client: SyncPrefectClient, path: Path, changes: Mapping[str, Any] | None = None) -> Component:
    """Register the component that a file holds, with all that it needs, as a new version. Raises BatchError.

    Args:
        client: of the Prefect server.
        path: the YAML file.
        changes: laid over its keys.
    """
    loaded = load_component(path, finder(client), changes)
    if loaded.component.name is None:
        raise loaded.where.error("name is missing: write it there, or give --name")
    about = {key: getattr(loaded.component, key) for key in ("name", "version", "type", "description")}
    new = validate(Component, about | {"definition": {}}, loaded.where)
    definition = whole(loaded, client, default_datastore(client)).model_dump(mode="json", exclude_none=True)
    return create_version(client, new.model_copy(update={"definition": definition}))
