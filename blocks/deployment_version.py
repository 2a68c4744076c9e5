"""What batch deployments of both types have: a name behind an endpoint, in versions that never change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect.blocks.core import Block
from pydantic import Field

from .names import Name, version_name


class DeploymentVersion(Block):
    """One version of a deployment behind a batch endpoint. Immutable: a change makes a new version."""

    name: Name
    endpoint_name: Name
    description: str | None = None
    tags: dict[str, Any] = Field(default_factory=dict)
    properties: dict[str, Any] = Field(default_factory=dict)
    version: int = 0
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def document_name(self) -> str:
        """Name of the block document of this version."""
        return version_name(self.endpoint_name, self.name, self.version)
