"""The record of a pipeline job.

<datastore>/jobs/<id>/job.json           the request, what it was resolved to, the deployment version, versions
                      runs/NNN.json      one for each time the job was started
                      steps/<step>/      done.json: what the step has written; commits/; attempts/; log.txt
                                         of a model deployment that a flow in Python calls: a job's folder, as in job.py
                      assets/            which version of a data asset the steps were given
                      outputs/ folders/ results/ flow/    of a flow in Python: see python_flow.py
                      summary.json       how it ended
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from ..blocks.interface import Literals
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.pipeline_settings import PipelineSettings
from ..scoring.storage import Folder
from .job import Job, JobRecord
from .locations import Location


class DataValue(BaseModel):
    """Data that an input was given: a folder or a file that was there when the job was recorded."""

    given: Any
    location: Location
    """Of the folder, or of the file itself."""
    is_folder: bool
    is_empty: bool = False
    """Whether a step left this folder empty: object stores do not have such folders."""
    direct: bool = False
    """With mode direct a step gets the URL, not a path on its machine."""


class OutputPlace(BaseModel):
    """Where an output goes."""

    location: Location
    """Of the folder, or of the file itself."""
    is_file: bool
    given: bool
    """Whether the call or the pipeline named it; else it is the job's own."""


class PipelineJob(JobRecord):
    """A job of a pipeline deployment."""

    deployment: PipelineDeployment
    settings: PipelineSettings
    inputs: dict[str, DataValue | Literals] = Field(default_factory=dict)
    """By name, defaults too; optional ones that were left out are not in it."""
    outputs: dict[str, OutputPlace] = Field(default_factory=dict)
    display_name: str | None = None


AnyJob = Job | PipelineJob


def load_job(folder: Folder) -> AnyJob:
    """The record in a job's folder, of either kind. Raises NotFound, BatchError."""
    kind = JobRecord.load(folder).deployment.get("type")
    return PipelineJob.load(folder) if kind == "pipeline" else Job.load(folder)
