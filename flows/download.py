"""The outputs of a job, copied to a local folder."""

from __future__ import annotations

from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from ..scoring.errors import BatchError
from ..scoring.storage import Folder
from .job import RECORD
from .job_outputs import output_named, outputs_of

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
    wanted = outputs if output_name is None else {output_name: output_named(outputs, output_name, flow_run.id)}
    copied: list[Path] = []
    for name, (folder, files) in wanted.items():
        copied += _copy(folder, target / "named-outputs" / name, files)
    return copied if output_name is not None else copied + _copy(job.folder, target / "artifacts", _ARTIFACTS)


def _copy(source: Folder, target: Path, names: list[str]) -> list[Path]:
    names = [name for name in names if source.exists(name)]
    paths = [target / name for name in names]
    if taken := [path for path in paths if path.exists()]:
        raise BatchError(f"{taken[0]} exists already and is not overwritten: give another --download-path")
    for error in source.fetch(names, paths):
        if error is not None:
            raise BatchError(f"the download failed: {error}") from None
    return paths
