"""YAML files as entities: `load_data("data.yml")`. What is wrong with one is said when it is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..blocks.documents import load_yaml, merged
from .entities import (
    AmlCompute,
    BatchDeployment,
    BatchEndpoint,
    Component,
    Data,
    Datastore,
    Environment,
    Model,
    ModelBatchDeployment,
    PipelineComponentBatchDeployment,
    PipelineJob,
    Place,
)
from .entity import Entity, plain

E = TypeVar("E", bound=Entity)
Changes = Sequence[Mapping[str, Any]] | None
"""Azure ML's `params_override`: keys, nested by dots, with the values that take the place of the file's."""


def load_batch_endpoint(source: Place, params_override: Changes = None) -> BatchEndpoint:
    """An endpoint's file."""
    return _load(BatchEndpoint, source, params_override)


def load_batch_deployment(
    source: Place, params_override: Changes = None
) -> ModelBatchDeployment | PipelineComponentBatchDeployment | BatchDeployment:
    """A deployment of the type that its file says, or of the older form."""
    kind = load_yaml(Path(source)).get("type")
    if kind == "pipeline":
        return _load(PipelineComponentBatchDeployment, source, params_override)
    return _load(BatchDeployment if kind is None else ModelBatchDeployment, source, params_override)


def load_data(source: Place, params_override: Changes = None) -> Data:
    """A data asset's file."""
    return _load(Data, source, params_override)


def load_model(source: Place, params_override: Changes = None) -> Model:
    """A model's file."""
    return _load(Model, source, params_override)


def load_environment(source: Place, params_override: Changes = None) -> Environment:
    """An environment's file."""
    return _load(Environment, source, params_override)


def load_compute(source: Place, params_override: Changes = None) -> AmlCompute:
    """A compute's file."""
    return _load(AmlCompute, source, params_override)


def load_datastore(source: Place, params_override: Changes = None) -> Datastore:
    """A datastore's file."""
    return _load(Datastore, source, params_override)


def load_component(source: Place) -> Component:
    """A component's file; the file itself is read when it is made of it."""
    return _load(Component, source, None)


def load_job(source: Place, params_override: Changes = None) -> PipelineJob:
    """A pipeline job's file; the file itself is read when it is run."""
    job = PipelineJob(overrides=nested(params_override))
    job.source = Path(source)
    return job


def _load(kind: type[E], source: Place, changes: Changes) -> E:
    path = Path(source)
    entity = kind.read(_named(path, merged(load_yaml(path), nested(changes))))
    entity.source = path
    return entity


def _named(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Most entities need a name: one that comes later must not be missed here."""
    return {"name": "", **document}


def nested(changes: Changes) -> dict[str, Any]:
    """`[{"retry_settings.timeout": 60}]` as {'retry_settings': {'timeout': 60}}; what comes later wins."""
    result: dict[str, Any] = {}
    for key, given in (pair for each in changes or [] for pair in each.items()):
        value = plain(given)
        for part in reversed(key.split(".")):
            value = {part: value}
        result = merged(result, value)
    return result
