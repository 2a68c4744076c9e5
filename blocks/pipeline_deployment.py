"""A pipeline deployment: a flow in Python, or a component of steps, with the settings that jobs start from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ..scoring.errors import InvalidDocument
from .component import PipelineComponent
from .deployment_version import DeploymentVersion
from .documents import validate
from .interface import Interface
from .pipeline_settings import PipelineSettings
from .snapshot import Snapshot

_SYSTEM_KEYS = {"version", "created_at", "interface", "graph", "code_snapshot"}
_SOURCES = ("flow", "component", "job_definition")


class PipelineDeployment(DeploymentVersion):
    """One version of a pipeline deployment behind a batch endpoint. Immutable: a change makes a new version."""

    _block_type_name = "Pipeline Deployment"
    _block_type_slug = "pipeline-deployment"

    type: Literal["pipeline"] = "pipeline"
    flow: str | None = Field(default=None, description="A Prefect flow: pipelines.py:score_with_preprocessing.")
    code: str | None = Field(default=None, description="Folder to copy; by default the one with the flow's file.")
    component: str | dict[str, Any] | None = Field(
        default=None, description="A registered component, a file, or the component."
    )
    job_definition: str | None = Field(default=None, description="azureml:<job>: a job that ran.")
    settings: PipelineSettings = Field(default_factory=PipelineSettings)
    interface: Interface = Field(default_factory=Interface)
    graph: PipelineComponent | None = Field(default=None, description="The whole component; null for a flow.")
    code_snapshot: Snapshot | None = Field(default=None, description="Of a flow's folder.")

    @property
    def compute(self) -> str:
        return self.settings.default_compute


def parse_pipeline_deployment(data: dict[str, Any], where: str) -> PipelineDeployment:
    """A document of type pipeline as its user wrote it. Raises InvalidDocument.

    Args:
        data: the mapping.
        where: the file's name, for messages.
    """
    given = [key for key in _SOURCES if data.get(key) is not None]
    if len(given) != 1:
        what = f"{' and '.join(given)} stand there: keep one" if given else "none of them stands there"
        raise InvalidDocument(f"{where}: type: pipeline takes one of {', '.join(_SOURCES)}: {what}")
    return validate(PipelineDeployment, data, where, set(PipelineDeployment.model_fields) - _SYSTEM_KEYS)
