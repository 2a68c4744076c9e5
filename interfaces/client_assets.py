"""What is kept in versions: `client.data`, `client.models`, `client.components`, `client.environments`."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

from prefect.client.orchestration import SyncPrefectClient

from ..blocks import component, data_asset, environment, versions
from ..blocks.versions import Versioned
from ..flows import models
from ..flows.components import create_component
from ..flows.upload import create_data_asset
from ..scoring.errors import InvalidDocument
from . import views
from .connection import Connection
from .entities import Component, Data, Environment, Model
from .entity import Asset, Entity

A = TypeVar("A", bound=Asset)


class AssetOperations(Generic[A]):
    """Assets of one kind, in versions that never change."""

    _shown: type[A]
    _kind: type[Versioned]

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create_or_update(self, asset: A) -> A:
        """Save as the version that it names, or as the next. Raises AlreadyExists, InvalidDocument, NotFound."""
        with self._connection.open() as client:
            return self._show(self._create(client, asset))

    def _create(self, client: SyncPrefectClient, asset: A) -> Versioned:
        raise NotImplementedError

    def _show(self, block: Versioned) -> A:
        return self._shown.told(views.of_version(block))

    def get(self, name: str, version: str | None = None, label: str | None = None) -> A:
        """One version; for the label `latest`, or nothing, the one created last. Raises NotFound."""
        with self._connection.open() as client:
            return self._show(versions.find_version(self._kind, client, name, version and str(version), label))

    def list(self, name: str | None = None, *, include_archived: bool = False) -> list[A]:
        """The versions of one name, or of all by name, oldest first."""
        with self._connection.open() as client:
            found = versions.list_versions(self._kind, client, name)
        return [self._show(block) for block in found if include_archived or not block.archived]

    def archive(self, name: str, version: str | None = None) -> None:
        """Take a version, or all, out of lists and of `latest`. Raises NotFound."""
        self._set_archived(name, version, True)

    def restore(self, name: str, version: str | None = None) -> None:
        """Bring an archived version back, or all. Raises NotFound."""
        self._set_archived(name, version, False)

    def _set_archived(self, name: str, version: str | None, archived: bool) -> None:
        with self._connection.open() as client:
            versions.set_archived(self._kind, client, name, version and str(version), archived)


class DataOperations(AssetOperations[Data]):
    """Data assets: names for data."""

    _shown = Data
    _kind = data_asset.DataAsset

    def _create(self, client: SyncPrefectClient, asset: Data) -> Versioned:
        where, beside = _origin(asset, "data")
        return create_data_asset(client, data_asset.parse_data_asset(asset.document(), where), beside)


class EnvironmentOperations(AssetOperations[Environment]):
    """Environments, which are built when a job needs them."""

    _shown = Environment
    _kind = environment.Environment

    def _create(self, client: SyncPrefectClient, asset: Environment) -> Versioned:
        where, beside = _origin(asset, "environment")
        return versions.create_version(client, environment.parse_environment(asset.document(), where, beside))


class ComponentOperations(AssetOperations[Component]):
    """Components, of which pipelines are made."""

    _shown = Component
    _kind = component.Component

    def _create(self, client: SyncPrefectClient, asset: Component) -> Versioned:
        if asset.source is None:
            raise InvalidDocument("a component is made of its file: load_component(FILE)")
        changes = {"name": asset.name, "version": asset.version, "description": asset.description}
        return create_component(client, asset.source, {key: value for key, value in changes.items() if value})


class ModelOperations:
    """Models in MLflow's registry at MLFLOW_TRACKING_URI."""

    def create_or_update(self, model: Model) -> Model:
        """Register a model as the next version of its name. Raises InvalidDocument, NotFound, BatchError."""
        where, beside = _origin(model, "model")
        return _model(models.create_model(models.parse_model(model.document(), where), beside))

    def get(self, name: str, version: str | None = None, label: str | None = None) -> Model:
        """One version; for the label `latest`, or nothing, the newest; other labels are aliases. Raises NotFound."""
        return _model(models.find_model(name, version and str(version), label))

    def list(self, name: str | None = None) -> list[Model]:
        """The versions of one model, oldest first; or of each model the newest, by name."""
        return [_model(found) for found in models.list_models(name)]

    def download(self, name: str, version: str | None = None, *, download_path: str | Path = ".") -> Path:
        """Copy a model's files to `<download_path>/<name>`; returns that folder. Raises NotFound, InvalidDocument."""
        return models.download_model(models.find_model(name, version and str(version)), Path(download_path))


def _model(found: models.RegisteredModel) -> Model:
    return Model.told(found.as_dict())


def _origin(entity: Entity, what: str) -> tuple[str, Path]:
    """What messages call an entity, and the folder in which its relative paths start."""
    return (what, Path.cwd()) if entity.source is None else (str(entity.source), entity.source.parent)
