"""`prefect-batch job`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from prefect.client.schemas.objects import FlowRun

from ..blocks import store
from ..flows import jobs
from ..flows.summary import read_summary
from . import terminal
from .cli_options import Endpoint, JobId, LocalFolder

app = App(name="job")


@app.command(name="list")
def job_list(*, endpoint: Endpoint = None, limit: int = 50) -> None:
    """List jobs, the newest first.

    Example: prefect-batch job list --endpoint heart
    """
    with store.api() as client:
        found = jobs.list_jobs(client, endpoint.lower() if endpoint else None, limit)
    rows = [(run.id, run.parameters.get("endpoint"), run.name, _state(run), _time(run)) for run in found]
    terminal.table(("ID", "ENDPOINT", "NAME", "STATE", "STARTED"), rows)


def _state(run: FlowRun) -> str:
    return (run.state.name or run.state.type.value) if run.state else "Unknown"


def _time(run: FlowRun) -> str:
    when = run.start_time or run.expected_start_time
    return when.astimezone().isoformat(sep=" ", timespec="seconds") if when else ""


@app.command(name="show")
def job_show(id: JobId) -> None:
    """Show a job: its state, what it reads and writes, its summary.

    Example: prefect-batch job show 5f0c5f1e-...
    """
    with store.api() as client:
        run = jobs.find(client, id)
        record = jobs.record_of(client, run)
        values: dict[str, Any] = {"job": run.id, "name": run.name, "endpoint": run.parameters.get("endpoint")}
        values |= {"state": _state(run), "message": run.state.message if run.state else None}
        if record is not None:
            values |= {"deployment": record.deployment_label, "input": record.input.url, "output": record.output.url}
            values |= {"files of the job": record.folder.url}
            summary = read_summary(record)
            if summary is not None and run.state and run.state.is_final():
                values["output"] = summary.output
                keys = ("items", "succeeded", "failed", "rows", "mini_batches", "retried_mini_batches", "runs")
                values |= {key.replace("_", " "): getattr(summary, key) for key in keys}
                values["seconds"] = ", ".join(f"{k} {v:g}" for k, v in summary.seconds.items())
        values["ui"] = jobs.ui_url(run)
    terminal.details(values)


@app.command(name="stream")
def job_stream(id: JobId) -> None:
    """Follow a job until it ends; Ctrl-C ends the following, not the job. Exit code 1 unless it completed.

    Example: prefect-batch job stream 5f0c5f1e-...
    """
    with store.api() as client, terminal.progress_bar() as update:

        def show(run: FlowRun, progress: jobs.Progress | None) -> None:
            if run.state and run.state.is_final() and not terminal.err.is_terminal:
                return  # the last line says it
            if progress is None:
                update(_state(run), 0, None, 0)
            else:
                update(_state(run), progress.completed, progress.total, progress.failed)

        ended = jobs.follow(client, jobs.find(client, id).id, show, terminal.note)
    message = ended.state.message if ended.state else ""
    terminal.note(f"{_state(ended)}: {message}")
    if not (ended.state and ended.state.is_completed()):
        sys.exit(1)


@app.command(name="cancel")
def job_cancel(id: JobId) -> None:
    """Stop a job; what it has finished is kept, and it can be resumed.

    Example: prefect-batch job cancel 5f0c5f1e-...
    """
    with store.api() as client:
        jobs.cancel(client, jobs.find(client, id))


@app.command(name="resume")
def job_resume(
    id: JobId, *, force: Annotated[bool, Parameter(help="Also if it seems to run.", negative=())] = False
) -> None:
    """Start a job again that did not complete; it goes on from what it had finished.

    Example: prefect-batch job resume 5f0c5f1e-...
    """
    with store.api() as client:
        jobs.resume(client, jobs.find(client, id), force)


@app.command(name="download")
def job_download(
    id: JobId,
    *,
    download_path: Annotated[
        LocalFolder, Parameter(name=["--download-path", "-p"], help="Folder; it is made.")
    ] = Path(),
) -> None:
    """Copy a finished job's output, errors and summary to a local folder.

    Example: prefect-batch job download 5f0c5f1e-... --download-path results/
    """
    with store.api() as client:
        for path in jobs.download(client, jobs.find(client, id), download_path):
            sys.stdout.write(f"{path}\n")
