"""`prefect-batch component`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from ..blocks import store
from ..blocks.component import Component
from ..flows.components import create_component
from . import overrides, terminal, views
from .cli_options import File, SetKeys
from .cli_versions import IncludeArchived, Label, NewVersion, Version, print_list, print_one, set_archived

app = App(name="component")

Name = Annotated[str, Parameter(name=["--name", "-n"], help="Of the component.")]
OptionalName = Annotated[str | None, Parameter(name=["--name", "-n"], help="Of the component.")]


@app.command(name="create")
def component_create(
    *,
    file: File,
    name: Annotated[str | None, Parameter(name=["--name", "-n"], help="Instead of the file's.")] = None,
    version: NewVersion = None,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Register a component, in a version that never changes; prints what a pipeline's `component` takes.

    Its code is copied, and what its steps take as fixed assets.

    Example: prefect-batch component create -f prepare.yml
    """
    changes = overrides.document(set, name=name, version=version)
    with store.api() as client:
        made = create_component(client, file, changes)
    terminal.result(made.label, views.of_version(made))


@app.command(name="list")
def component_list(name: OptionalName = None, *, include_archived: IncludeArchived = False) -> None:
    """List the versions of components, oldest first.

    Example: prefect-batch component list --name prepare
    """
    print_list(Component, name, include_archived, ("type", "description"))


@app.command(name="show")
def component_show(
    name: Name,
    *,
    version: Version = None,
    label: Label = None,
) -> None:
    """Show a version of a component; its `id` is what a pipeline's `component` takes.

    Example: prefect-batch component show prepare --version 1
    """
    print_one(Component, name, version, label)


@app.command(name="archive")
def component_archive(name: Name, *, version: Version = None) -> None:
    """Archive a version of a component, or all: no longer listed nor the latest, but still found by its number.

    Example: prefect-batch component archive prepare --version 1
    """
    set_archived(Component, name, version, True)


@app.command(name="restore")
def component_restore(name: Name, *, version: Version = None) -> None:
    """Bring back an archived version of a component, or all.

    Example: prefect-batch component restore prepare --version 1
    """
    set_archived(Component, name, version, False)
