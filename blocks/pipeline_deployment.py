"""A pipeline deployment: a flow in Python, or a component of steps, with the settings that jobs start from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from prefect.blocks.core import Block
from pydantic import Field

from ..scoring.errors import InvalidDocument
from .component import PipelineComponent
from .documents import validate
from .interface import Interface
from .names import Name, version_name
from .pipeline_settings import PipelineSettings
from .snapshot import Snapshot

_SYSTEM_KEYS = {"version", "created_at", "interface", "graph", "code_snapshot"}
_SOURCES = ("flow", "component", "job_definition")


class PipelineDeployment(Block):
    """One version of a pipeline deployment behind a batch endpoint. Immutable: a change makes a new version."""

    _block_type_name = "Pipeline Deployment"
    _block_type_slug = "pipeline-deployment"

    name: Name
    endpoint_name: Name
    type: Literal["pipeline"] = "pipeline"
    description: str | None = None
    tags: dict[str, Any] = Field(default_factory=dict)
    properties: dict[str, Any] = Field(default_factory=dict)
    flow: str | None = Field(default=None, description="A Prefect flow: pipelines.py:score_with_preprocessing.")
    code: str | None = Field(default=None, description="Folder to copy; by default the one with the flow's file.")
    component: str | dict[str, Any] | None = Field(
        default=None, description="A registered component, a file, or the component."
    )
    job_definition: str | None = Field(default=None, description="azureml:<job>: a job that ran.")
    settings: PipelineSettings = Field(default_factory=PipelineSettings)
    version: int = 0
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    interface: Interface = Field(default_factory=Interface)
    graph: PipelineComponent | None = Field(default=None, description="The whole component; null for a flow.")
    code_snapshot: Snapshot | None = Field(default=None, description="Of a flow's folder.")

    @property
    def document_name(self) -> str:
        """Name of the block document of this version."""
        return version_name(self.endpoint_name, self.name, self.version)

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
