"""A batch endpoint: the stable name, and which of its deployments is the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from prefect.blocks.core import Block
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from .documents import validate
from .names import Name
from .schedule import Schedules
from .settings import Document
from .trigger import Trigger


class Defaults(Document):
    """`defaults:` of an endpoint."""

    deployment_name: Name | None = None


class BatchEndpoint(Block):
    """A name that anyone can call to score a lot of data later; behind it stand one or more deployments."""

    _block_type_name = "Batch Endpoint"
    _block_type_slug = "batch-endpoint"

    name: Name
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    properties: dict[str, str] = Field(default_factory=dict)
    auth_mode: Literal["aad_token"] = "aad_token"
    defaults: Defaults = Field(default_factory=Defaults)
    # Prefect keeps these two: the document that is stored never has them.
    schedules: SkipJsonSchema[Schedules | None] = None
    triggers: SkipJsonSchema[list[Trigger] | None] = None


def parse_endpoint(data: Mapping[str, Any], where: str) -> BatchEndpoint:
    """An endpoint as its user wrote it, with Azure ML's keys. Raises InvalidDocument, which begins with `where`."""
    return validate(BatchEndpoint, data, where, set(BatchEndpoint.model_fields))
