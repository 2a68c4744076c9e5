"""A job's folder, and the record in it from which anyone can run the job again.

<datastore>/jobs/<id>/job.json       the request, what it was resolved to, the deployment version, versions
                      runs/NNN.json  one for each time the job was started
                      plan.jsonl     plan.json says where each shard begins in it
                      parts/         committed results
                      logs/          what the scoring processes printed and logged
                      errors.jsonl   every failed item and its cause
                      summary.json   how it ended

The output goes to <datastore>/azureml/<id>/score/ unless the request names another place; that of a trial run without
a server to score/ in its folder.
"""

from __future__ import annotations

import getpass
import itertools
import json
import os
import platform
import socket
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any, Self

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from pydantic import BaseModel, Field, ValidationError

from ..blocks.compute import ComputeCluster
from ..blocks.datastore import default_datastore, open_folder
from ..blocks.documents import explain
from ..blocks.model_deployment import ModelDeployment
from ..blocks.settings import ModelSettings
from ..scoring.errors import BatchError, NotFound
from ..scoring.storage import Folder
from .inputs import Input
from .locations import Location

JOBS = "jobs"
"""Folder of the default datastore: below it each job has one, with its own files."""
OUTPUTS = "azureml"
"""Folder of a datastore: below it each job has one, for outputs that no place was given for."""
RECORD = "job.json"
OUTPUT_NAME = "score"
_PACKAGES = ("prefect-batch", "prefect", "prefect-dask", "dask", "pandas", "pyarrow", "fsspec", "mlflow")


class JobRecord(BaseModel):
    """What every job was asked and what that meant when it was first started. Never changed after."""

    id: str
    endpoint: str | None
    deployment: Any
    """The version that runs; its type says which kind of job this is."""
    compute: ComputeCluster
    overrides: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    submitted_by: str | None = None
    caller: str | None = None
    """The principal that the job runs as; None for one that came in through Prefect itself."""
    versions: dict[str, str] = Field(default_factory=dict)
    root: str
    """Reference of the job's folder."""
    parent: str | None = None
    """The pipeline job that it is a step of."""

    @cached_property
    def folder(self) -> Folder:
        """The job's own folder."""
        return open_folder(self.root)

    @property
    def deployment_label(self) -> str:
        """`gbm (version 3)`, or just the name of one that was never stored."""
        number = self.deployment.version
        return f"{self.deployment.name} (version {number})" if number else self.deployment.name

    def save(self) -> None:
        """Write the record. Raises FileExistsError: a job is recorded once."""
        self.folder.make().create(RECORD, self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, folder: Folder) -> Self:
        """The record in a job's folder. Raises NotFound, and BatchError for what is no record."""
        try:
            return cls.model_validate_json(folder.read(RECORD))
        except FileNotFoundError:
            raise NotFound(f"no job is recorded in {folder.url}") from None
        except ValidationError as error:
            raise BatchError(f"{folder.file_url(RECORD)} is no record of a job: {explain(error, cls)}") from None

    def begin_run(self) -> int:
        """Note that the job is being started; returns how often that has been done, from 1."""
        about = {"started_at": datetime.now(UTC).isoformat(), "host": socket.gethostname(), "pid": os.getpid()}
        for number in itertools.count(1):
            try:
                self.folder.create(f"runs/{number:03d}.json", json.dumps(about).encode())
            except FileExistsError:
                continue
            return number
        raise AssertionError("unreachable")


class Job(JobRecord):
    """A job of a model deployment."""

    deployment: ModelDeployment
    settings: ModelSettings
    input: Input
    params: dict[str, Any] = Field(default_factory=dict)
    output: Location

    @cached_property
    def output_folder(self) -> Folder:
        return self.output.open()


def job_root(client: SyncPrefectClient, job_id: str) -> str:
    """Reference of the folder of an endpoint's job: where it was recorded, or will be.

    A job stays where it was first started, also when another datastore has become the default since.
    """
    below = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [job_id]}})
    for run in client.read_flow_runs(flow_run_filter=below, limit=1):
        if root := run.parameters.get("job_folder"):
            return str(root)
    return default_datastore(client).reference(f"{JOBS}/{job_id}")


def installed_versions() -> dict[str, str]:
    """Of Python and of the packages that decide what a job does."""
    return {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}}


def user() -> str | None:
    """Who runs this process, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
