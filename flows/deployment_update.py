"""A deployment with other settings: its next version, with the same code and model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient

from ..blocks.compute import find_compute
from ..blocks.deployment import Deployment, create_version, find_deployment, parse_deployment
from ..blocks.documents import merged
from ..blocks.model_deployment import ModelDeployment
from ..scoring.errors import InvalidDocument
from .environment_source import check_image, find_spec
from .publication import publish

_CHANGEABLE = {
    "model": ("compute", "description", "environment", "properties", "settings", "tags"),
    "pipeline": ("description", "properties", "settings", "tags"),
}


def update_deployment(client: SyncPrefectClient, endpoint: str, name: str, changes: Mapping[str, Any]) -> Deployment:
    """Make the next version of a deployment from its newest, with changes laid over its keys.

    Raises NotFound, and InvalidDocument for a key that goes with other code or another model.
    """
    held = find_deployment(client, endpoint, name)
    allowed = _CHANGEABLE[held.type]
    if other := [key for key in changes if key not in allowed]:
        raise InvalidDocument(
            f"{other[0]}: an update changes {', '.join(allowed)}; all else is for `prefect-batch deployment create`"
        )
    data = merged(held.model_dump(mode="json", include={*allowed, "name", "endpoint_name", "type"}), changes)
    # Without what it runs, of which there are copies.
    source = {"model": "kept"} if isinstance(held, ModelDeployment) else {"flow": "kept.py:kept"}
    parsed = parse_deployment({**data, **source}, "--set")
    new = held.model_copy(update={key: getattr(parsed, key) for key in allowed})
    compute = find_compute(client, new.compute)
    compute.check(new.settings)
    if isinstance(new, ModelDeployment):  # each branch has one type, as the call must
        if "environment" in changes:
            new = new.model_copy(update={"environment_spec": find_spec(client, new, "--set", Path.cwd())})
        check_image(new, compute, "--set")
        stored: Deployment = create_version(client, new)
    else:
        stored = create_version(client, new)
    publish(client, endpoint)
    return stored
