"""`prefect-batch data`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ..blocks import store, versions
from ..blocks.data_asset import DataAsset, load_data_asset, parse_data_asset
from ..flows.upload import create_data_asset
from . import terminal
from .cli_options import OptionalFile

app = App(name="data")

OptionalName = Annotated[str | None, Parameter(name=["--name", "-n"], help="Of the data asset.")]
Name = Annotated[str, Parameter(name=["--name", "-n"], help="Of the data asset.")]
Version = Annotated[str | None, Parameter(name=["--version", "-v"])]


@app.command(name="create")
def data_create(
    name: OptionalName = None,
    *,
    file: OptionalFile = None,
    path: Annotated[str | None, Parameter(help="The data: a path, a URL or a place in a datastore.")] = None,
    type: Annotated[str | None, Parameter(help="uri_folder or uri_file.")] = None,
    version: Annotated[str | None, Parameter(name=["--version", "-v"], help="By default the next number.")] = None,
    description: str | None = None,
) -> None:
    """Give data a name, in a version that never changes; prints what a job's --input takes.

    Local data is uploaded to the default datastore first, unless that is a local folder itself.

    Example: prefect-batch data create --name heart --path data/
    """
    given = {"name": name, "path": path, "type": type, "version": version, "description": description}
    given = {key: value for key, value in given.items() if value is not None}
    beside = file.parent if file and path is None else Path.cwd()
    asset = load_data_asset(file, **given) if file else parse_data_asset(given, "data")
    with store.api() as client, terminal.byte_bar(f"Uploading {asset.path}") as update:
        made = create_data_asset(client, asset, beside, update)
    terminal.result(made.label)


@app.command(name="list")
def data_list(
    name: OptionalName = None,
    *,
    include_archived: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """List the versions of data assets, oldest first.

    Example: prefect-batch data list --name heart
    """
    with store.api() as client:
        found = versions.list_versions(DataAsset, client, name)
    rows = [
        (a.name, a.version, a.type, a.path, a.created_at and a.created_at.isoformat(" ", "seconds"))
        for a in found
        if include_archived or not a.archived
    ]
    terminal.table(("NAME", "VERSION", "TYPE", "PATH", "CREATED"), rows)


@app.command(name="show")
def data_show(
    name: Name,
    *,
    version: Version = None,
    label: Annotated[str | None, Parameter(name=["--label", "-l"], help="latest, which is the default.")] = None,
) -> None:
    """Show a version of a data asset; its `id` is what a job's --input takes.

    Example: prefect-batch data show heart --version 1
    """
    with store.api() as client:
        found = versions.find_version(DataAsset, client, name, version, label)
    shown = {"id": found.label, **found.model_dump(mode="json", exclude={"block_type_slug"})}
    terminal.out.print_json(json.dumps(shown))


@app.command(name="archive")
def data_archive(name: Name, *, version: Version = None) -> None:
    """Archive a version of a data asset, or all: no longer listed nor the latest, but still found by its number.

    Example: prefect-batch data archive heart --version 1
    """
    _set_archived(name, version, True)


@app.command(name="restore")
def data_restore(name: Name, *, version: Version = None) -> None:
    """Bring back an archived version of a data asset, or all.

    Example: prefect-batch data restore heart --version 1
    """
    _set_archived(name, version, False)


def _set_archived(name: str, version: str | None, archived: bool) -> None:
    with store.api() as client:
        for asset in versions.set_archived(DataAsset, client, name, version, archived):
            terminal.result(asset.label)
