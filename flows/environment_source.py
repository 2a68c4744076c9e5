"""The environment of a deployment, found and read when the deployment is made: its jobs ask nobody what it is."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient

from ..blocks.compute import ComputeCluster
from ..blocks.environment import (
    CURRENT,
    OF_MODEL,
    Environment,
    EnvironmentSpec,
    comparable_of_model,
    of_model,
    parse_environment,
    resolve,
)
from ..blocks.model_deployment import ModelDeployment
from ..blocks.versions import find_version
from ..scoring.errors import InvalidDocument

_REGISTERED = re.compile(r"(?:azureml:/?)?(?P<name>[\w.-]+)(?::(?P<version>[\w.-]+)|@(?P<label>[\w.-]+))")


def recorded_by(model: Path, required: bool, where: str) -> EnvironmentSpec | None:
    """What an MLflow model was logged with; None where that is not known, unless it is required.

    Raises InvalidDocument.
    """
    try:
        found = of_model(model, f"{where}: model")
    except InvalidDocument:
        if required:
            raise
        with contextlib.suppress(InvalidDocument):  # else only the comparison with the job's environment is lost
            return comparable_of_model(model)
        return None
    if found is None and required:
        raise InvalidDocument(
            f"{where}: environment: model: the model recorded no requirements (it has no requirements.txt and no "
            "conda.yaml): write conda_file or python_requirements"
        )
    return found


def wants_model(deployment: ModelDeployment) -> bool:
    """Whether a deployment's environment is the one that its model recorded."""
    return deployment.environment == OF_MODEL


def find_spec(
    client: SyncPrefectClient | None, deployment: ModelDeployment, where: str, beside: Path
) -> EnvironmentSpec | None:
    """What the environment of a deployment comes to; None for the worker's Python.

    Args:
        client: of the Prefect server; None for a trial run without one.
        deployment: with `model_environment`, if its model has one.
        where: its file, for messages.
        beside: what relative paths start from.

    Raises InvalidDocument, NotFound.
    """
    given = deployment.environment
    if given is None or given == CURRENT:
        return None
    if wants_model(deployment):
        if deployment.model_environment is None:
            raise InvalidDocument(f"{where}: environment: model: the deployment has no MLflow model: name another")
        if not deployment.model_environment.complete:
            raise InvalidDocument(
                f"{where}: environment: model: it cannot be built from what the model recorded: write conda_file or "
                "python_requirements"
            )
        return deployment.model_environment
    if isinstance(given, dict):
        named = {"name": deployment.name, **given}
        environment = parse_environment(named, f"{where}: environment", beside)
    else:
        environment = _registered(client, given, where)
    return resolve(environment, f"{where}: environment")


def _registered(client: SyncPrefectClient | None, given: str, where: str) -> Environment:
    match = _REGISTERED.fullmatch(given)
    if match is None:
        raise InvalidDocument(
            f"{where}: environment: {given!r} is not understood: write current, model, azureml:<name>:<version> or "
            "azureml:<name>@latest, or the environment itself"
        )
    if client is None:
        raise InvalidDocument(
            f"{where}: environment: {given!r} is kept by a server, and a trial run has none: write the environment "
            "itself, or `--set environment=current`"
        )
    return find_version(Environment, client, match["name"], match["version"], match["label"])


def check_image(deployment: ModelDeployment, compute: ComputeCluster, where: str) -> None:
    """Refuse an environment that is an image and no more, where nothing runs it. Raises InvalidDocument."""
    spec = deployment.environment_spec
    if spec is None or spec.image is None or spec.has_python:
        return
    if not compute.kind().runs_containers:
        raise InvalidDocument(
            f"{where}: environment: image: compute {compute.name!r} runs no containers: give conda_file or "
            "python_requirements, which are built on its machines, or name a compute of type kubernetes"
        )
