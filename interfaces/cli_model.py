"""`prefect-batch model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ..flows import models
from . import overrides, terminal
from .cli_options import LocalFolder, OptionalFile, SetKeys
from .cli_versions import Label, Version

app = App(name="model")

OptionalName = Annotated[str | None, Parameter(name=["--name", "-n"], help="Of the model.")]
Name = Annotated[str, Parameter(name=["--name", "-n"], help="Of the model.")]


@app.command(name="create")
def model_create(
    name: OptionalName = None,
    *,
    file: OptionalFile = None,
    path: Annotated[
        str | None, Parameter(name=["--path", "-p"], help="A folder or file, or runs:/ID/PATH of an MLflow run.")
    ] = None,
    type: Annotated[
        str | None, Parameter(name=["--type", "-t"], help="mlflow_model or custom_model; by default what is there.")
    ] = None,
    version: Annotated[
        str | None, Parameter(name=["--version", "-v"], help="The next number, which is the default.")
    ] = None,
    description: str | None = None,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Register a model in MLflow's registry at MLFLOW_TRACKING_URI; prints what a deployment's `model` takes.

    Example: prefect-batch model create --name heart --path model/ --type mlflow_model
    """
    given = overrides.document(set, name=name, path=path, type=type, version=version, description=description)
    beside = file.parent if file and path is None else Path.cwd()
    model = models.load_model(file, given) if file else models.parse_model(given, "model")
    made = models.create_model(model, beside)
    terminal.result(made.id, made.as_dict())


@app.command(name="list")
def model_list(name: OptionalName = None) -> None:
    """List the versions of a model, oldest first; or the newest of each.

    Example: prefect-batch model list --name heart
    """
    found = models.list_models(name)
    rows = [(one.name, one.version, one.type, one.description, terminal.moment(one.created_at)) for one in found]
    terminal.table(("NAME", "VERSION", "TYPE", "DESCRIPTION", "CREATED"), rows, [one.as_dict() for one in found])


@app.command(name="show")
def model_show(name: Name, *, version: Version = None, label: Label = None) -> None:
    """Show a version of a model; its `id` is what a deployment's `model` takes.

    Example: prefect-batch model show heart --version 1
    """
    terminal.document(models.find_model(name, version, label).as_dict())


@app.command(name="download")
def model_download(
    name: Name,
    *,
    version: Version = None,
    label: Label = None,
    download_path: Annotated[
        LocalFolder, Parameter(name=["--download-path", "-p"], help="Folder; the model goes to NAME in it.")
    ] = Path(),
) -> None:
    """Copy the files of a model to a local folder.

    Example: prefect-batch model download heart --version 1 --download-path models/
    """
    target = models.download_model(models.find_model(name, version, label), download_path)
    terminal.result(str(target), {"path": str(target)})
