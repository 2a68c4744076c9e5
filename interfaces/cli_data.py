"""`prefect-batch data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ..blocks import store
from ..blocks.data_asset import DataAsset, load_data_asset, parse_data_asset
from ..flows.upload import create_data_asset
from . import overrides, terminal, views
from .cli_options import OptionalFile, SetKeys
from .cli_versions import IncludeArchived, Label, NewVersion, Version, print_list, print_one, set_archived

app = App(name="data")

OptionalName = Annotated[str | None, Parameter(name=["--name", "-n"], help="Of the data asset.")]
Name = Annotated[str, Parameter(name=["--name", "-n"], help="Of the data asset.")]


@app.command(name="create")
def data_create(
    name: OptionalName = None,
    *,
    file: OptionalFile = None,
    path: Annotated[
        str | None, Parameter(name=["--path", "-p"], help="The data: a path, a URL or a place in a datastore.")
    ] = None,
    type: Annotated[str | None, Parameter(name=["--type", "-t"], help="uri_folder or uri_file.")] = None,
    version: NewVersion = None,
    description: str | None = None,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Give data a name, in a version that never changes; prints what a job's --input takes.

    Local data is uploaded to the default datastore first, unless that is a local folder itself.

    Example: prefect-batch data create --name heart --path data/
    """
    given = overrides.document(set, name=name, path=path, type=type, version=version, description=description)
    beside = file.parent if file and "path" not in given else Path.cwd()
    asset = load_data_asset(file, given) if file else parse_data_asset(given, "data")
    with store.api() as client, terminal.byte_bar(f"Uploading {asset.path}") as update:
        made = create_data_asset(client, asset, beside, update)
    terminal.result(made.label, views.of_version(made))


@app.command(name="list")
def data_list(
    name: OptionalName = None,
    *,
    include_archived: IncludeArchived = False,
) -> None:
    """List the versions of data assets, oldest first.

    Example: prefect-batch data list --name heart
    """
    print_list(DataAsset, name, include_archived, ("type", "path"))


@app.command(name="show")
def data_show(
    name: Name,
    *,
    version: Version = None,
    label: Label = None,
) -> None:
    """Show a version of a data asset; its `id` is what a job's --input takes.

    Example: prefect-batch data show heart --version 1
    """
    print_one(DataAsset, name, version, label)


@app.command(name="archive")
def data_archive(name: Name, *, version: Version = None) -> None:
    """Archive a version of a data asset, or all: no longer listed nor the latest, but still found by its number.

    Example: prefect-batch data archive heart --version 1
    """
    set_archived(DataAsset, name, version, True)


@app.command(name="restore")
def data_restore(name: Name, *, version: Version = None) -> None:
    """Bring back an archived version of a data asset, or all.

    Example: prefect-batch data restore heart --version 1
    """
    set_archived(DataAsset, name, version, False)
