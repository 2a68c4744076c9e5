"""`prefect-batch component`."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import App, Parameter

from ..blocks import store, versions
from ..blocks.component import Component
from ..flows.components import create_component
from . import overrides, terminal
from .cli_options import File

app = App(name="component")

Name = Annotated[str, Parameter(name=["--name", "-n"], help="Of the component.")]
OptionalName = Annotated[str | None, Parameter(name=["--name", "-n"], help="Of the component.")]
Version = Annotated[str | None, Parameter(name=["--version", "-v"])]


@app.command(name="create")
def component_create(
    *,
    file: File,
    name: Annotated[str | None, Parameter(name=["--name", "-n"], help="Instead of the file's.")] = None,
    version: Annotated[str | None, Parameter(name=["--version", "-v"], help="By default the next number.")] = None,
    set: Annotated[list[str], Parameter(name="--set", help="KEY=VALUE, as in description=Splits.", negative=())] = [],  # noqa: B006
) -> None:
    """Register a component, in a version that never changes; prints what a pipeline's `component` takes.

    Its code is copied, and what its steps take as fixed assets.

    Example: prefect-batch component create -f prepare.yml
    """
    changes = overrides.parse(set) | {key: value for key, value in (("name", name), ("version", version)) if value}
    with store.api() as client:
        made = create_component(client, file, changes)
    terminal.result(made.label)


@app.command(name="list")
def component_list(
    name: OptionalName = None, *, include_archived: Annotated[bool, Parameter(negative=())] = False
) -> None:
    """List the versions of components, oldest first.

    Example: prefect-batch component list --name prepare
    """
    with store.api() as client:
        found = versions.list_versions(Component, client, name)
    rows = [
        (c.name, c.version, c.type, c.description, c.created_at and c.created_at.isoformat(" ", "seconds"))
        for c in found
        if include_archived or not c.archived
    ]
    terminal.table(("NAME", "VERSION", "TYPE", "DESCRIPTION", "CREATED"), rows)


@app.command(name="show")
def component_show(
    name: Name,
    *,
    version: Version = None,
    label: Annotated[str | None, Parameter(name=["--label", "-l"], help="latest, which is the default.")] = None,
) -> None:
    """Show a version of a component; its `id` is what a pipeline's `component` takes.

    Example: prefect-batch component show prepare --version 1
    """
    with store.api() as client:
        found = versions.find_version(Component, client, name, version, label)
    shown = {"id": found.label, **found.model_dump(mode="json", exclude={"block_type_slug"})}
    terminal.out.print_json(json.dumps(shown))


@app.command(name="archive")
def component_archive(name: Name, *, version: Version = None) -> None:
    """Archive a version of a component, or all: no longer listed nor the latest, but still found by its number.

    Example: prefect-batch component archive prepare --version 1
    """
    _set_archived(name, version, True)


@app.command(name="restore")
def component_restore(name: Name, *, version: Version = None) -> None:
    """Bring back an archived version of a component, or all.

    Example: prefect-batch component restore prepare --version 1
    """
    _set_archived(name, version, False)


def _set_archived(name: str, version: str | None, archived: bool) -> None:
    with store.api() as client:
        for component in versions.set_archived(Component, client, name, version, archived):
            terminal.result(component.label)
