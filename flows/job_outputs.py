"""The outputs of a job that has ended: which there are, where they lie, and the table in one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from ..scoring.encoded import AZUREML
from ..scoring.endings import COLUMNAR, JSON_LINES, TABLES
from ..scoring.errors import BatchError, JobFailed, NotFound, StorageFailed
from ..scoring.storage import Folder
from .job import OUTPUT_NAME, Job
from .jobs import record_of
from .locations import locate
from .outputs import split_file
from .pipeline_job import AnyJob, PipelineJob
from .pipeline_summary import read_pipeline_summary

if TYPE_CHECKING:
    import pandas as pd

Output = tuple[Folder, list[str]]
"""A folder, and the job's files in it."""
Outputs = dict[str, Output]
"""By name."""


def outputs_of(client: SyncPrefectClient, flow_run: FlowRun) -> tuple[AnyJob, Outputs]:
    """A finished job, and its outputs by name: a folder, and the job's files in it.

    Raises BatchError while the job runs, JobFailed for one that never started.
    """
    if flow_run.state is None or not flow_run.state.is_final():
        name = flow_run.state.name if flow_run.state else "not started"
        raise BatchError(f"job {flow_run.id} is {name}: it has outputs once it has ended")
    job = record_of(client, flow_run)
    if job is None:
        raise JobFailed(f"job {flow_run.id} never started: {flow_run.state.message}")
    return job, _of_pipeline(client, job) if isinstance(job, PipelineJob) else _of_model(job)


def output_named(outputs: Outputs, name: str, job: UUID) -> Output:
    """One of a job's outputs. Raises NotFound naming those that there are."""
    if name not in outputs:
        raise NotFound(f"job {job} has no output {name!r}: it has {', '.join(outputs) or 'none'}")
    return outputs[name]


def output_places(client: SyncPrefectClient, flow_run: FlowRun) -> dict[str, str]:
    """Where each output lies that is there, as an input of another job may name it. Raises BatchError, JobFailed."""
    job, found = outputs_of(client, flow_run)
    if isinstance(job, Job):
        return {name: folder.url for name, (folder, files) in found.items() if files}
    summary = read_pipeline_summary(job)
    return summary.outputs if summary is not None else {}


def read_output(client: SyncPrefectClient, flow_run: FlowRun, output_name: str | None = None) -> pd.DataFrame:
    """The rows of an output: of all tables in it, which are of one kind.

    Args:
        client: of the Prefect server.
        flow_run: the job, which has ended.
        output_name: which; may be left out where there is one.

    Raises NotFound for an output that is not there, BatchError for one that is no table.
    """
    job, outputs = outputs_of(client, flow_run)
    if output_name is None and len(outputs) != 1:
        raise NotFound(f"job {flow_run.id}: name the output to read: it has {', '.join(outputs) or 'none'}")
    name = output_name or next(iter(outputs))
    folder, files = output_named(outputs, name, flow_run.id)
    return _read(job, f"output {name!r} of job {flow_run.id}", folder, files)


def _of_model(job: Job) -> Outputs:
    """Its one output: a folder, and the job's files in it."""
    name = job.settings.file_name
    shared = job.output.given is not None and name  # what else lies there is not the job's
    return {OUTPUT_NAME: (job.output_folder, [name] if shared and name else job.output_folder.files())}


def _of_pipeline(client: SyncPrefectClient, job: PipelineJob) -> Outputs:
    """Those outputs that are there, wherever they lie: a step that was reused has left its output where it was."""
    summary = read_pipeline_summary(job)
    found: Outputs = {}
    for name, url in (summary.outputs if summary is not None else {}).items():
        place = job.outputs[name]
        location = place.location if url == place.location.url else locate(url, client)
        if place.is_file:
            beside, file_name = split_file(location)
            found[name] = (beside.open(), [file_name])
        else:
            folder = location.open()
            found[name] = (folder, folder.files())
    return found


def _read(job: AnyJob, what: str, folder: Folder, files: list[str]) -> pd.DataFrame:
    import pandas as pd

    from ..scoring.table_files import kind_of, read_chunks

    tables = [file for file in files if kind_of(file) in TABLES and not Path(file).name.startswith(("_", "."))]
    without_names = isinstance(job, Job) and job.settings.rows_format == AZUREML
    if without_names:
        tables = files
    if len({_family(kind_of(file)) for file in tables}) != 1:
        found = "tables of several kinds" if tables else "no table"
        raise BatchError(f"{what} holds {found}: copy its files with download()")
    with tempfile.TemporaryDirectory(prefix="prefect-batch-result-") as scratch:
        paths = [Path(scratch, f"{number}-{Path(file).name}") for number, file in enumerate(tables)]
        for error in folder.fetch(tables, paths):
            if error is not None:
                raise StorageFailed(f"{what} may not be read: {error}")
        if without_names:
            separator = " " if isinstance(job, Job) and job.deployment.code_configuration else ","
            read = cast("Any", pd.read_csv)
            return pd.concat([read(path, header=None, sep=separator) for path in paths], ignore_index=True)
        frames = [chunk.data for path in paths for chunk in read_chunks(str(path), set(), [])]
        return pd.concat(frames, ignore_index=True)


def _family(kind: str) -> str:
    return "columnar" if kind in COLUMNAR else "lines" if kind in JSON_LINES else kind
