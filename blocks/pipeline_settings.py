"""The settings of a pipeline deployment, and what one job may override of them.

Names and defaults of the first four are Azure ML's; instance_count, max_concurrency_per_instance and
node_wait_timeout mean what they mean for models.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from .compute import LOCAL
from .documents import validate
from .names import strip_reference
from .settings import Document, InstanceCount, NodeWaitTimeout, Whole


def _compute(value: Any) -> Any:
    """Azure ML's serverless compute is whatever is there."""
    if not isinstance(value, str):
        return value
    name = strip_reference(value)
    return LOCAL if name == "serverless" else name


def _datastore(value: Any) -> Any:
    return strip_reference(value).removeprefix("//datastores/").lower() if isinstance(value, str) else value


StepsAtOnce = Annotated[int, Field(ge=1, description="Steps that run on one instance at the same time."), Whole]
ContinueOnStepFailure = Annotated[
    bool, Field(description="After a step failed: go on with those that do not need it, or cancel all.")
]
ForceRerun = Annotated[bool, Field(description="Run every step, also where an earlier run's output could be taken.")]
DatastoreReference = Annotated[
    str, BeforeValidator(_datastore), Field(description="Datastore for outputs that no place is given for.")
]


class PipelineSettings(Document):
    """`settings:` of a deployment of type pipeline."""

    default_compute: Annotated[str, BeforeValidator(_compute)] = LOCAL
    default_datastore: DatastoreReference | None = None
    continue_on_step_failure: ContinueOnStepFailure = True
    force_rerun: ForceRerun = False
    instance_count: InstanceCount = 1
    max_concurrency_per_instance: StepsAtOnce = 4
    node_wait_timeout: NodeWaitTimeout = 3600

    def overridden(self, overrides: JobPipelineSettings) -> PipelineSettings:
        """These settings with one job's overrides laid over them. Raises InvalidDocument."""
        merged = self.model_dump(exclude_unset=True) | overrides.model_dump(exclude_none=True)
        return validate(PipelineSettings, merged, "settings")


class JobPipelineSettings(Document):
    """What one job may override of its pipeline deployment's settings."""

    default_datastore: DatastoreReference | None = None
    continue_on_step_failure: ContinueOnStepFailure | None = None
    force_rerun: ForceRerun | None = None
    instance_count: InstanceCount | None = None
    max_concurrency_per_instance: StepsAtOnce | None = None
    node_wait_timeout: NodeWaitTimeout | None = None
