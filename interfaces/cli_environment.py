"""`prefect-batch environment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ..blocks import store, versions
from ..blocks.environment import Environment, load_environment, parse_environment, resolve
from ..scoring import venv
from ..scoring.errors import InvalidDocument
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
    python_requirements: Annotated[
        Path | None, Parameter(name=["--python-requirements", "-r"], help="A requirements file, which is read now.")
    ] = None,
    version: NewVersion = None,
    description: str | None = None,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Give packages or an image a name, in a version that never changes. They are built when a job needs them.

    Example: prefect-batch environment create --name heart --image python:3.12 --conda-file conda.yml
    """
    files = {"conda_file": conda_file, "python_requirements": python_requirements}
    paths = {key: str(path.absolute()) for key, path in files.items() if path is not None}
    given = overrides.document(set, name=name, image=image, version=version, description=description, **paths)
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


@app.command(name="build")
def environment_build(
    name: OptionalName = None, *, file: OptionalFile = None, version: Version = None, label: Label = None
) -> None:
    """Build an environment on this machine now, showing the log, so that no job here waits for it.

    With what scoring scripts need; a job whose output is Parquet, or whose deployment is an MLflow model without a
    script, needs more, and builds that when it starts.

    Example: prefect-batch environment build --name heart
    """
    from ..flows.environments import build_for_scripts

    if file is not None:
        found = load_environment(file, {})
    elif name is not None:
        with store.api() as client:
            found = versions.find_version(Environment, client, name, version, label)
    else:
        raise InvalidDocument("which environment? give --name, or --file")
    built = build_for_scripts(resolve(found, str(file or found.label)), terminal.note)
    terminal.result(
        built.executable, {"python": built.executable, "version": built.version, "packages": built.packages}
    )


@app.command(name="prune")
def environment_prune(
    *, days: Annotated[float, Parameter(help="That none of this machine's jobs used it.")] = 30.0
) -> None:
    """Remove built environments that this machine has not used for a while; a job that needs one builds it again.

    Example: prefect-batch environment prune --days 7
    """
    gone = venv.prune(days)
    terminal.result(f"{len(gone)} removed from {venv.cache()}", {"removed": gone, "folder": str(venv.cache())})


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
