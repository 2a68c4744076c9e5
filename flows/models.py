"""Models in MLflow's registry: register, list, find, fetch."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..blocks.documents import Text, load_yaml, merged, validate
from ..blocks.interface import ModelType
from ..blocks.model_source import mlflow_folder
from ..blocks.names import AssetName
from ..blocks.settings import Document
from ..scoring.errors import BatchError, InvalidDocument, NotFound

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

EXPERIMENT = "prefect-batch models"
"""Whose runs hold the files of models that are registered from here."""
_FOLDER = "model"
_TYPE, _PROPERTY = "type", "property."


class ModelFile(Document):
    """A model as its user writes it, with Azure ML's keys (`model.schema.json`)."""

    name: AssetName
    version: Text | None = None
    path: str = Field(description="A folder or file, or runs:/ID/PATH of an MLflow run.")
    type: ModelType | None = None
    description: str | None = None
    tags: dict[str, Text] = Field(default_factory=dict)
    properties: dict[str, Text] = Field(default_factory=dict)
    flavors: dict[str, Any] | None = Field(default=None, description="Of no effect: the model's own file says it.")


@dataclass(frozen=True)
class RegisteredModel:
    """One version of a model in the registry."""

    id: str
    """What a deployment's `model` takes."""
    name: str
    version: str
    type: str
    path: str
    description: str | None
    created_at: datetime
    run_id: str | None = None
    aliases: list[str] = field(default_factory=list[str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    properties: dict[str, str] = field(default_factory=dict[str, str])

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def parse_model(data: Mapping[str, Any], where: str) -> ModelFile:
    """A model's keys. Raises InvalidDocument."""
    return validate(ModelFile, {key: value for key, value in data.items() if key != "$schema"}, where)


def load_model(path: Path, changes: Mapping[str, Any]) -> ModelFile:
    """A model's file; `changes` are laid over its keys. Raises InvalidDocument."""
    return parse_model(merged(load_yaml(path), changes), str(path))


def create_model(model: ModelFile, beside: Path) -> RegisteredModel:
    """Register a model as the next version of its name; what is local is copied to where MLflow keeps artifacts.

    Args:
        model: what to register.
        beside: what a relative path starts from.

    Raises InvalidDocument, NotFound, BatchError for what MLflow refuses.
    """
    with _registry() as client:
        _check_version(client, model)
        local = None if model.path.startswith("runs:/") else _local(model, beside)
        kind = model.type or ("mlflow_model" if local is None or mlflow_folder(local) else "custom_model")
        source, run = (model.path, model.path.split("/")[1]) if local is None else _log(client, model.name, local)
        _ensure_name(client, model.name)
        tags = model.tags | {_TYPE: kind} | {f"{_PROPERTY}{key}": value for key, value in model.properties.items()}
        made = client.create_model_version(model.name, source, run, tags=tags, description=model.description)
        return _read(made)


def _local(model: ModelFile, beside: Path) -> Path:
    if "://" in model.path.removeprefix("file://") or model.path.startswith("azureml:"):
        raise InvalidDocument(f"path: {model.path!r}: give a folder or file on this machine, or runs:/ID/PATH")
    path = (beside / Path(model.path.removeprefix("file://")).expanduser()).resolve()
    if not path.exists():
        raise NotFound(f"path: {model.path!r} does not exist (looked for {path})")
    if model.type == "mlflow_model" and (path.is_file() or mlflow_folder(path) is None):
        raise InvalidDocument(f"path: {model.path!r} holds no MLflow model (no MLmodel file): use type: custom_model")
    return path if path.is_file() else (mlflow_folder(path) or path)


def _check_version(client: MlflowClient, model: ModelFile) -> None:
    if model.version is None:
        return
    following = max((int(one.version) for one in _versions(client, model.name)), default=0) + 1
    if model.version != str(following):
        raise InvalidDocument(
            f"version: {model.version!r}: MLflow numbers versions itself, and the next is {following}: leave it out"
        )


def _log(client: MlflowClient, name: str, local: Path) -> tuple[str, str]:
    """Copy a model's files into a run of their own; returns where they are, and the run's id."""
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found is not None else client.create_experiment(EXPERIMENT)
    run = client.create_run(experiment, run_name=name)
    if local.is_file():
        client.log_artifact(run.info.run_id, str(local), _FOLDER)  # pyright: ignore[reportUnknownMemberType]
    else:
        client.log_artifacts(run.info.run_id, str(local), _FOLDER)
    client.set_terminated(run.info.run_id)
    return f"{run.info.artifact_uri}/{_FOLDER}", run.info.run_id


def _ensure_name(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def list_models(name: str | None = None) -> list[RegisteredModel]:
    """The versions of one model, oldest first; or of each model the newest, by name. Raises BatchError."""
    with _registry() as client:
        if name is not None:
            return [_read(one) for one in _versions(client, name)]
        newest: dict[str, ModelVersion] = {}
        for one in sorted(_versions(client, None), key=lambda one: int(one.version)):
            newest[one.name] = one
        return [_read(newest[key]) for key in sorted(newest)]


def find_model(name: str, version: str | None = None, label: str | None = None) -> RegisteredModel:
    """One version of a model: of that number, of that alias, or for `latest` (or nothing) the newest.

    Raises NotFound naming what there is.
    """
    with _registry() as client:
        held = _versions(client, name)
        if not held:
            known = ", ".join(sorted({one.name for one in _versions(client, None)})[:20])
            there = f" (there are: {known})" if known else ""
            raise NotFound(f"model {name!r} does not exist{there}: register it with `prefect-batch model create`")
        if version is None and label in (None, "latest"):
            return _read(held[-1])
        if version is None:
            found = [one for one in held if label in _read(one).aliases]
        else:
            found = [one for one in held if str(one.version) == version]
        if not found:
            numbers = ", ".join(str(one.version) for one in held[-20:])
            what = f"version {version!r}" if version is not None else f"alias {label!r}"
            raise NotFound(f"model {name!r} has no {what}: it has versions {numbers}")
        return _read(found[0])


def download_model(model: RegisteredModel, folder: Path) -> Path:
    """Copy a model's files to `folder/<name>`, which must not be there; returns it. Raises BatchError."""
    target = folder.expanduser().absolute() / model.name
    if target.exists():
        raise InvalidDocument(f"{target} exists, and is not overwritten: name another --download-path")
    with _registry():
        import mlflow.artifacts

        target.mkdir(parents=True)
        mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{model.name}/{model.version}", dst_path=str(target))
    return target


def _versions(client: MlflowClient, name: str | None) -> list[ModelVersion]:
    """Oldest first; of all names where there is none."""
    wanted = None if name is None else f"name='{name}'"
    found: list[ModelVersion] = []
    token: str | None = None
    while True:
        page: Any = client.search_model_versions(wanted, max_results=1000, page_token=token)
        found += list(page)
        token = page.token
        if not token:
            return sorted(found, key=lambda one: int(one.version))


def _read(one: ModelVersion) -> RegisteredModel:
    tags: dict[str, str] = dict(one.tags or {})  # pyright: ignore[reportUnknownMemberType]
    kind = tags.pop(_TYPE, "mlflow_model")
    properties = {key.removeprefix(_PROPERTY): tags.pop(key) for key in list(tags) if key.startswith(_PROPERTY)}
    return RegisteredModel(
        id=f"azureml:{one.name}:{one.version}",
        name=one.name,
        version=str(one.version),
        type=kind,
        path=str(one.source),
        description=one.description or None,
        created_at=datetime.fromtimestamp((one.creation_timestamp or 0) / 1000, UTC),
        run_id=one.run_id or None,
        aliases=list(one.aliases or []),
        tags=tags,
        properties=properties,
    )


@contextmanager
def _registry() -> Generator[MlflowClient]:
    """MLflow's registry; what it refuses is a BatchError."""
    if not os.environ.get("MLFLOW_TRACKING_URI") and not os.environ.get("MLFLOW_REGISTRY_URI"):
        raise InvalidDocument(
            "models are kept in MLflow's registry: set MLFLOW_TRACKING_URI to its address, here and where workers run"
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seven take minutes to fail
    import logging

    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        yield MlflowClient()
    except MlflowException as error:
        raise BatchError(f"MLflow's registry: {' '.join(str(error.message).split())[:300]}") from None
