"""A model deployment: a model, perhaps a scoring script, the compute and the settings that jobs start from."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, field_validator

from ..scoring.errors import InvalidDocument
from .deployment_version import DeploymentVersion
from .documents import validate
from .environment import EnvironmentSpec
from .interface import ModelType
from .model_params import ParamsSchema
from .names import strip_reference
from .settings import Document, InstanceCount, ModelSettings
from .snapshot import Snapshot

_SYSTEM_KEYS = {
    "version",
    "created_at",
    "model_snapshot",
    "code_snapshot",
    "params_schema",
    "environment_spec",
    "model_environment",
}
_SETTINGS_KEYS = set(ModelSettings.model_fields)
_FLAT_KEYS = _SETTINGS_KEYS - {"instance_count", "output_format", "output_compression", "output_columns"}


class CodeConfiguration(Document):
    """The folder with the scoring script, and the script in it."""

    code: str = "."
    scoring_script: str


class Resources(Document):
    """`resources:` of a deployment; instance_count is taken over into settings."""

    instance_count: InstanceCount | None = None
    instance_type: str | None = None
    max_instance_count: int | None = None
    properties: dict[str, Any] | None = None
    locations: list[str] | None = None
    shm_size: str | None = None
    docker_args: str | list[str] | None = None


class ModelSource(Document):
    """`model:` given inline."""

    name: str | None = None
    version: str | int | None = None
    description: str | None = None
    type: ModelType | None = None
    path: str


class ModelDeployment(DeploymentVersion):
    """One version of a model deployment behind a batch endpoint. Immutable: a change makes a new version."""

    _block_type_name = "Model Deployment"
    _block_type_slug = "model-deployment"

    type: Literal["model"] = "model"
    model: str | ModelSource | None = Field(default=None, description="A folder or file, or a registered model.")
    code_configuration: CodeConfiguration | None = None
    environment: str | dict[str, Any] | None = Field(
        default=None, description="What jobs run in: current (the worker's Python), model, or an environment."
    )
    compute: str = Field(default="local", description="Name of a Compute Cluster.")
    resources: Resources | None = None
    settings: ModelSettings = Field(default_factory=ModelSettings)
    model_snapshot: Snapshot | None = None
    code_snapshot: Snapshot | None = None
    params_schema: ParamsSchema | None = Field(default=None, description="Parameters of the model; null if not known.")
    environment_spec: EnvironmentSpec | None = Field(
        default=None, description="What the environment came to; null for the worker's."
    )
    model_environment: EnvironmentSpec | None = Field(default=None, description="What the model was logged with.")

    @field_validator("compute")
    @classmethod
    def _compute_name(cls, value: str) -> str:
        return strip_reference(value)

    @property
    def image(self) -> str | None:
        """The image that nodes are to run, where the compute runs containers."""
        return self.environment_spec.image if self.environment_spec is not None else None

    @property
    def model_reference(self) -> str | None:
        return self.model.path if isinstance(self.model, ModelSource) else self.model


def parse_model_deployment(data: dict[str, Any], where: str) -> ModelDeployment:
    """A document as its user wrote it: nested (`type: model`, `settings:`) or Azure ML's flat legacy form.

    Args:
        data: the mapping, which is changed.
        where: the file's name, for messages.

    Raises InvalidDocument.
    """
    kind = data.get("type")
    flat = [key for key in data if key in _SETTINGS_KEYS]
    if kind is None and "settings" in data:
        raise InvalidDocument(f"{where}: settings goes with `type: model`: add that line")
    if kind is None:
        data["settings"] = {key: data.pop(key) for key in flat if key in _FLAT_KEYS}
    elif flat == ["error_threshold"]:
        settings = _mapping(data, "settings", where)
        if "error_threshold" in settings:
            raise InvalidDocument(f"{where}: error_threshold stands at the top and under settings: keep one")
        data["settings"] = {**settings, "error_threshold": data.pop("error_threshold")}
    elif flat:
        raise InvalidDocument(f"{where}: {flat[0]} belongs under settings with `type: model`")
    _take_instance_count(data, where)
    allowed = set(ModelDeployment.model_fields) - _SYSTEM_KEYS
    if kind is None:  # what the user may write is what the message should name
        allowed |= _FLAT_KEYS
    return validate(ModelDeployment, {**data, "type": "model"}, where, allowed)


def _mapping(data: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value: Any = data.get(key) or {}
    if not isinstance(value, dict):
        raise InvalidDocument(f"{where}: {key}: {value!r} must be a mapping of keys to values")
    return cast("dict[str, Any]", value)


def _take_instance_count(data: dict[str, Any], where: str) -> None:
    count = _mapping(data, "resources", where).get("instance_count")
    settings = _mapping(data, "settings", where)
    if count is not None:
        if "instance_count" in settings:
            raise InvalidDocument(f"{where}: instance_count stands under resources and under settings: keep one")
        settings = {**settings, "instance_count": count}
    if "settings" in data or settings:
        data["settings"] = settings


def check_source(deployment: ModelDeployment, path: Path) -> None:
    """Refuse a deployment without a model or script, or whose script is none. Raises InvalidDocument.

    Args:
        deployment: as its file says.
        path: the file.
    """
    if deployment.code_configuration is not None:
        _check_script(path, deployment.code_configuration)
    elif deployment.model is None:
        raise InvalidDocument(f"{path}: model is missing: name an MLflow model, or give code_configuration")


def _check_script(path: Path, code: CodeConfiguration) -> None:
    folder = (path.parent / code.code).resolve()
    script = folder / code.scoring_script
    if not folder.is_dir():
        raise InvalidDocument(f"{path}: code_configuration.code: {code.code!r} is not a folder (looked at {folder})")
    if not script.is_file():
        raise InvalidDocument(
            f"{path}: code_configuration.scoring_script: {code.scoring_script!r} is not in {folder}: "
            "give its path relative to code_configuration.code"
        )
    try:
        tree = ast.parse(script.read_bytes(), str(script))
    except (SyntaxError, ValueError) as error:
        line = f" line {error.lineno}:" if isinstance(error, SyntaxError) else ""
        raise InvalidDocument(f"{script}:{line} not valid Python: {error.args[0]}") from None
    names = {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}
    names |= {a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    names |= {t.id for n in ast.walk(tree) if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    if "*" not in names and (lacking := {"init", "run"} - names):
        raise InvalidDocument(f"{script}: has no function {min(lacking)}(): a scoring script defines init() and run()")
