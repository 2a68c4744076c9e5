"""Batch deployments of both types, in the versions that an endpoint has of them.

Each `deployment create` makes a new version, a document that is never changed; jobs record the version they ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from prefect.client.orchestration import SyncPrefectClient

from ..scoring.errors import AlreadyExists, InvalidDocument, NotFound
from . import store
from .documents import load_yaml, merged
from .model_deployment import ModelDeployment, check_source, parse_model_deployment
from .names import version_prefix
from .pipeline_deployment import PipelineDeployment, parse_pipeline_deployment

Deployment = ModelDeployment | PipelineDeployment
_KINDS: tuple[type[ModelDeployment], type[PipelineDeployment]] = (ModelDeployment, PipelineDeployment)
D = TypeVar("D", ModelDeployment, PipelineDeployment)


def parse_deployment(data: dict[str, Any], where: str, endpoint: str | None = None) -> Deployment:
    """A deployment document as its user wrote it.

    Args:
        data: the mapping, `$schema` or not.
        where: the file's name, for messages.
        endpoint: takes the place of `endpoint_name`.

    Raises InvalidDocument.
    """
    data = {key: value for key, value in data.items() if key != "$schema"}
    if endpoint is not None:
        data["endpoint_name"] = endpoint
    kind = data.get("type")
    if kind == "pipeline":
        return parse_pipeline_deployment(data, where)
    if kind not in (None, "model"):
        raise InvalidDocument(f"{where}: type: {kind!r} is not known: use type: model or type: pipeline")
    return parse_model_deployment(data, where)


def load_deployment(
    path: Path, endpoint: str | None = None, name: str | None = None, changes: Mapping[str, Any] | None = None
) -> Deployment:
    """A deployment file, checked together with what it names; `changes` are laid over its keys.

    Raises InvalidDocument.
    """
    data = merged(load_yaml(path), changes or {})
    if name is not None:
        data["name"] = name
    deployment = parse_deployment(data, str(path), endpoint)
    if isinstance(deployment, ModelDeployment):
        check_source(deployment, path)
    return deployment


def versions(client: SyncPrefectClient, endpoint: str, name: str | None = None) -> list[Deployment]:
    """All versions of an endpoint's deployments, or of one of them, oldest first."""
    equal = {"endpoint_name": endpoint} | ({"name": name} if name else {})
    within = version_prefix(endpoint, name)
    found: list[Deployment] = [one for kind in _KINDS for one in store.list_all(kind, client, within, **equal)]
    return sorted(found, key=lambda deployment: (deployment.name, deployment.version))


def latest(client: SyncPrefectClient, endpoint: str) -> dict[str, Deployment]:
    """The newest version of each deployment of an endpoint, by name."""
    return {deployment.name: deployment for deployment in versions(client, endpoint)}


def endpoints_with(client: SyncPrefectClient, name: str) -> list[str]:
    """Endpoints that have a deployment of that name."""
    return sorted({one.endpoint_name for kind in _KINDS for one in store.list_all(kind, client, name=name)})


def find_deployment(client: SyncPrefectClient, endpoint: str, name: str) -> Deployment:
    """The newest version of one deployment of an endpoint. Raises NotFound naming those that there are."""
    known = latest(client, endpoint)
    if name.lower() not in known:
        has = f"it has {', '.join(known)}" if known else "it has none yet"
        raise NotFound(f"Deployment {name!r} not found for endpoint {endpoint!r}: {has}")
    return known[name.lower()]


def create_version(client: SyncPrefectClient, deployment: D) -> D:
    """Save as the next version of its name; two callers at once get two versions."""
    while True:
        held = versions(client, deployment.endpoint_name, deployment.name)
        number = held[-1].version + 1 if held else 1
        candidate = deployment.model_copy(update={"version": number, "created_at": datetime.now(UTC)})
        try:
            store.create(candidate, candidate.document_name, client)
        except AlreadyExists:
            continue
        return candidate


def delete_deployment(client: SyncPrefectClient, endpoint: str, name: str) -> None:
    """Delete all versions of a deployment; past jobs keep a copy of the version they ran. Raises NotFound."""
    held = versions(client, endpoint, name)
    if not held:
        raise NotFound(f"Deployment {name!r} does not exist for endpoint {endpoint!r}")
    for deployment in held:
        store.delete(type(deployment), deployment.document_name, client)
