"""The outputs of a job that has ended: where they lie, and the table in one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from ..scoring.encoded import AZUREML
from ..scoring.endings import COLUMNAR, JSON_LINES, TABLES
from ..scoring.errors import BatchError, NotFound, StorageFailed
from ..scoring.storage import Folder
from .download import outputs_of
from .job import Job
from .pipeline_job import AnyJob
from .pipeline_summary import read_pipeline_summary

if TYPE_CHECKING:
    import pandas as pd


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
    has = f"it has {', '.join(outputs)}" if outputs else "it has none"
    if output_name is None and len(outputs) != 1:
        raise NotFound(f"job {flow_run.id}: name the output to read: {has}")
    name = output_name or next(iter(outputs))
    if name not in outputs:
        raise NotFound(f"job {flow_run.id} has no output {name!r}: {has}")
    folder, files = outputs[name]
    return _read(job, f"output {name!r} of job {flow_run.id}", folder, files)


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
