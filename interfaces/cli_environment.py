"""`prefect-batch environment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ..blocks import store, versions
from ..blocks.environment import Environment, load_environment, parse_environment
from . import overrides, terminal, views
from .cli_options import OptionalFile, SetKeys
from .cli_versions import IncludeArchived, Label, NewVersion, Version, print_list, print_one, set_archived

app = App(name="environment")

OptionalName = Annotated[str | None, Parameter(name=["--name", "-n"], help="Of the environment.")]
Name = Annotated[str, Parameter(name=["--name", "-n"], help="Of the environment.")]


@app.command(name="create")
def environment_create(
    name: OptionalName = None,
    *,
    file: OptionalFile = None,
    image: Annotated[str | None, Parameter(name=["--image", "-i"], help="A container image.")] = None,
    conda_file: Annotated[
        Path | None, Parameter(name=["--conda-file", "-c"], help="A conda file, which is read now.")
    ] = None,
    version: NewVersion = None,
    description: str | None = None,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Give an environment a name, in a version that never changes. It is recorded, not built.

    Example: prefect-batch environment create --name heart --image python:3.12 --conda-file conda.yml
    """
    conda = str(conda_file.absolute()) if conda_file else None
    given = overrides.document(set, name=name, image=image, conda_file=conda, version=version, description=description)
    new = load_environment(file, given) if file else parse_environment(given, "environment", Path.cwd())
    with store.api() as client:
        made = versions.create_version(client, new)
    terminal.result(made.label, views.of_version(made))


@app.command(name="list")
def environment_list(name: OptionalName = None, *, include_archived: IncludeArchived = False) -> None:
    """List the versions of environments, oldest first.

    Example: prefect-batch environment list --name heart
    """
    print_list(Environment, name, include_archived, ("image", "description"))


@app.command(name="show")
def environment_show(name: Name, *, version: Version = None, label: Label = None) -> None:
    """Show a version of an environment; its `id` is what a deployment's `environment` takes.

    Example: prefect-batch environment show heart --version 1
    """
    print_one(Environment, name, version, label)


@app.command(name="archive")
def environment_archive(name: Name, *, version: Version = None) -> None:
    """Archive a version of an environment, or all: no longer listed nor the latest, but still found by its number.

    Example: prefect-batch environment archive heart --version 1
    """
    set_archived(Environment, name, version, True)


@app.command(name="restore")
def environment_restore(name: Name, *, version: Version = None) -> None:
    """Bring back an archived version of an environment, or all.

    Example: prefect-batch environment restore heart --version 1
    """
    set_archived(Environment, name, version, False)
