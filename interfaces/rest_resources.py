"""What the gateway answers: endpoints, jobs and outputs, with keys as Azure ML spells them."""

from __future__ import annotations

from datetime import datetime

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from ..blocks.endpoint import BatchEndpoint
from ..flows import jobs
from ..flows.job_status import status_of
from ..scoring.errors import BatchError


class Resource(BaseModel):
    """Base of all: keys in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Progress(Resource):
    """How far a job is: mini-batches, of a pipeline steps."""

    completed: int
    total: int
    failed: int


class JobProperties(Resource):
    """What is to say of a job."""

    status: str
    """NotStarted, Queued, Running, CancelRequested, Completed, Failed, Canceled, Paused or Unknown."""
    display_name: str
    endpoint_name: str
    deployment_name: str | None
    """None while only the endpoint's default at the job's start says it."""
    caller: str | None
    """The principal that made the job and that it runs as."""
    message: str | None
    created_at: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    progress: Progress | None = None


class JobResource(Resource):
    """A job."""

    id: str
    name: str
    """The same as the id."""
    type: str = "job"
    properties: JobProperties


class JobPage(Resource):
    """Jobs, the newest first."""

    value: list[JobResource]
    next_link: str | None = None


class OutputResource(Resource):
    """An output of a job that has ended."""

    name: str
    uri: str
    files: int
    """How many there are."""


class OutputList(Resource):
    """The outputs of a job."""

    value: list[OutputResource]


class FileResource(Resource):
    """A file of an output."""

    name: str
    """Relative to the output."""
    link: str
    """Where to fetch it."""


class FilePage(Resource):
    """Files of an output, by name."""

    value: list[FileResource]
    next_link: str | None = None


class EndpointDefaults(Resource):
    """What a call gets that says nothing else."""

    deployment_name: str | None = None


class EndpointProperties(Resource):
    """What is to say of an endpoint."""

    description: str | None
    defaults: EndpointDefaults
    scoring_uri: str
    """Where to POST calls, relative to the gateway."""
    openapi_uri: str


class EndpointResource(Resource):
    """An endpoint."""

    id: str
    name: str
    type: str = "endpoint"
    tags: dict[str, str]
    properties: EndpointProperties


class EndpointList(Resource):
    """Endpoints, by name."""

    value: list[EndpointResource]


def job_resource(run: FlowRun, endpoint: str, deployment: str | None = None) -> JobResource:
    """A job as its flow run tells it.

    Args:
        run: the flow run.
        endpoint: that was called.
        deployment: that runs, where it is known better than from the call.
    """
    properties = JobProperties(
        status=status_of(run),
        display_name=run.name,
        endpoint_name=endpoint,
        deployment_name=deployment or run.parameters.get("deployment"),
        caller=run.parameters.get("caller"),
        message=run.state.message if run.state else None,
        created_at=run.created,
        start_time=run.start_time,
        end_time=run.end_time,
    )
    return JobResource(id=str(run.id), name=str(run.id), properties=properties)


def full_job_resource(client: SyncPrefectClient, run: FlowRun, endpoint: str) -> JobResource:
    """A job with what it has recorded and reported, as far as that can be read from here."""
    try:
        record = jobs.record_of(client, run) if run.start_time else None
    except (BatchError, OSError):  # the state of a job is to be had also when its storage is not
        record = None
    made = job_resource(run, endpoint, record.deployment.name if record else None)
    if run.start_time and (reported := jobs.progress_of(client, run.id)) is not None:
        made.properties.progress = Progress(completed=reported.completed, total=reported.total, failed=reported.failed)
    return made


def endpoint_resource(endpoint: BatchEndpoint) -> EndpointResource:
    """An endpoint as it is stored."""
    at = f"/endpoints/{endpoint.name}"
    return EndpointResource(
        id=at,
        name=endpoint.name,
        tags=endpoint.tags,
        properties=EndpointProperties(
            description=endpoint.description,
            defaults=EndpointDefaults(deployment_name=endpoint.defaults.deployment_name),
            scoring_uri=f"{at}/jobs",
            openapi_uri=f"{at}/openapi.json",
        ),
    )
