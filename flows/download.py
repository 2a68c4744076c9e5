"""The outputs of a job, copied to a local folder."""

from __future__ import annotations

from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from ..scoring.errors import BatchError, JobFailed, NotFound
from ..scoring.storage import Folder
from .job import OUTPUT_NAME, RECORD, Job
from .jobs import record_of
from .locations import locate
from .outputs import split_file
from .pipeline_job import AnyJob, PipelineJob
from .pipeline_summary import read_pipeline_summary

_ARTIFACTS = ["errors.jsonl", "summary.json", RECORD]


def download(client: SyncPrefectClient, flow_run: FlowRun, target: Path, output_name: str | None = None) -> list[Path]:
    """Copy a finished job's outputs, or one of them, and what it says of itself to a local folder.

    Layout as Azure ML's: `<target>/named-outputs/<name>/...`, the rest in `<target>/artifacts/`.

    Args:
        client: of the Prefect server.
        flow_run: the job.
        target: the folder; it is made.
        output_name: the one output to copy, and nothing else.

    Raises NotFound for an output that the job does not have, BatchError while the job runs, for a file that is there
    already, and when storage fails.
    """
    job, outputs = outputs_of(client, flow_run)
    if output_name is not None and output_name not in outputs:
        has = f"it has {', '.join(outputs)}" if outputs else "it has none"
        raise NotFound(f"job {flow_run.id} has no output {output_name!r} to download: {has}")
    copied: list[Path] = []
    for name, (folder, files) in outputs.items():
        if output_name in (None, name):
            copied += _copy(folder, target / "named-outputs" / name, files)
    return copied if output_name is not None else copied + _copy(job.folder, target / "artifacts", _ARTIFACTS)


def outputs_of(client: SyncPrefectClient, flow_run: FlowRun) -> tuple[AnyJob, dict[str, tuple[Folder, list[str]]]]:
    """A finished job, and its outputs by name: a folder, and the job's files in it.

    Raises BatchError while the job runs, JobFailed for one that never started.
    """
    if flow_run.state is None or not flow_run.state.is_final():
        name = flow_run.state.name if flow_run.state else "not started"
        raise BatchError(f"job {flow_run.id} is {name}: download it once it has ended")
    job = record_of(client, flow_run)
    if job is None:
        raise JobFailed(f"job {flow_run.id} never started: {flow_run.state.message}")
    return job, _of_pipeline(client, job) if isinstance(job, PipelineJob) else _of_model(job)


def _of_model(job: Job) -> dict[str, tuple[Folder, list[str]]]:
    """Its one output: a folder, and the job's files in it."""
    name = job.settings.file_name
    shared = job.output.given is not None and name  # what else lies there is not the job's
    return {OUTPUT_NAME: (job.output_folder, [name] if shared and name else job.output_folder.files())}


def _of_pipeline(client: SyncPrefectClient, job: PipelineJob) -> dict[str, tuple[Folder, list[str]]]:
    """Those outputs that are there, wherever they lie: a step that was reused has left its output where it was."""
    summary = read_pipeline_summary(job)
    found: dict[str, tuple[Folder, list[str]]] = {}
    for name, url in (summary.outputs if summary is not None else {}).items():
        place = job.outputs[name]
        location = place.location if url == place.location.url else locate(url, client)
        if place.is_file:
            folder, file_name = split_file(location)
            found[name] = (folder.open(), [file_name])
        else:
            found[name] = (location.open(), location.open().files())
    return found


def _copy(source: Folder, target: Path, names: list[str]) -> list[Path]:
    names = [name for name in names if source.exists(name)]
    paths = [target / name for name in names]
    if taken := [path for path in paths if path.exists()]:
        raise BatchError(f"{taken[0]} exists already and is not overwritten: give another --download-path")
    for error in source.fetch(names, paths):
        if error is not None:
            raise BatchError(f"the download failed: {error}") from None
    return paths
