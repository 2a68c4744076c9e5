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
from .entity import Entity

E = TypeVar("E", bound=Entity)
Changes = Sequence[Mapping[str, Any]] | None
"""Azure ML's `params_override`: keys, nested by dots, with the values that take the place of the file's."""


def load_batch_endpoint(source: Place, params_override: Changes = None) -> BatchEndpoint:
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
    return _load(Data, source, params_override)


def load_model(source: Place, params_override: Changes = None) -> Model:
    return _load(Model, source, params_override)


def load_environment(source: Place, params_override: Changes = None) -> Environment:
    return _load(Environment, source, params_override)


def load_compute(source: Place, params_override: Changes = None) -> AmlCompute:
    return _load(AmlCompute, source, params_override)


def load_datastore(source: Place, params_override: Changes = None) -> Datastore:
    return _load(Datastore, source, params_override)


def load_component(source: Place) -> Component:
    """A component's file; the file itself is read when it is made of it."""
    return _load(Component, source, None)


def load_job(source: Place, params_override: Changes = None) -> PipelineJob:
    """A pipeline job's file; the file itself is read when it is run."""
    job = PipelineJob(overrides=_changes(params_override))
    job.source = Path(source)
    return job


def _load(kind: type[E], source: Place, changes: Changes) -> E:
    path = Path(source)
    entity = kind.read(_named(path, merged(load_yaml(path), _changes(changes))))
    entity.source = path
    return entity


def _named(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Most entities need a name: one that comes later must not be missed here."""
    return {"name": "", **document}


def _changes(given: Changes) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in (pair for each in given or [] for pair in each.items()):
        for part in reversed(key.split(".")):
            value = {part: value}
        result = merged(result, value)
    return result
