"""`prefect-batch job`."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any, cast

from cyclopts import App, Parameter
from cyclopts.validators import Number
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from ..blocks import store
from ..flows import costs, jobs
from ..flows.download import download
from ..flows.job import Job
from ..flows.pipeline_job import AnyJob, DataValue, PipelineJob
from ..flows.pipeline_summary import NOT_RUN, PipelineSummary, read_pipeline_summary
from ..flows.summary import Summary, read_summary
from ..flows.usage import HOUR, money, percent
from ..scoring.errors import InvalidDocument
from . import overrides, terminal, views
from .cli_options import Endpoint, File, JobId, LocalFolder, MaxResults, Set, Stream

app = App(name="job")


@app.command(name="create")
def job_create(
    *,
    file: File,
    set: Set = [],  # noqa: B006
    name: Annotated[
        str | None, Parameter(name=["--name", "-n"], help="Instead of the file's, or of one made up.")
    ] = None,
    stream: Stream = False,
) -> None:
    """Run a pipeline job's file without an endpoint: prints its id and returns at once.

    Example: prefect-batch job create -f pipeline-job.yml --set inputs.data.path=data/ --stream
    """
    from .call import run_file

    with store.api() as client:
        run = run_file(client, file, overrides.document(set), name)
        tell_job(client, run)
    if stream:
        job_stream(str(run.id))


def tell_job(client: SyncPrefectClient, run: FlowRun) -> None:
    """Say which job was made: its id for scripts, its page and what it may lack for people."""
    url = jobs.ui_url(run)
    terminal.result(str(run.id), views.of_job(run, url))
    if url is not None:
        terminal.note(f"Job {run.name}: {url}")
    if not jobs.workers_online(client):
        terminal.note("No worker is online: the job waits until one is. Start one with `prefect-batch worker start`")


@app.command(name="list")
def job_list(*, endpoint: Endpoint = None, limit: MaxResults = 50) -> None:
    """List jobs, the newest first.

    Example: prefect-batch job list --endpoint heart
    """
    list_jobs(endpoint, None, limit)


def list_jobs(endpoint: str | None, deployment: str | None, limit: int) -> None:
    """Show the newest jobs, of one endpoint or of all; of one deployment only, where its jobs have been recorded."""
    with store.api() as client:
        found = jobs.newest_jobs(client, endpoint.lower() if endpoint else None, limit, deployment)
    rows = [(run.id, run.parameters.get("endpoint"), run.name, _state(run), _began(run)) for run in found]
    terminal.table(
        ("ID", "ENDPOINT", "NAME", "STATE", "STARTED"), rows, [views.of_job(run, jobs.ui_url(run)) for run in found]
    )


def _state(run: FlowRun) -> str:
    return (run.state.name or run.state.type.value) if run.state else "Unknown"


def _began(run: FlowRun) -> str | None:
    return terminal.moment(run.start_time or run.expected_start_time)


@app.command(name="show")
def job_show(id: JobId) -> None:
    """Show a job: its state, what it reads and writes, its summary, a pipeline's steps.

    Example: prefect-batch job show 5f0c5f1e-...
    """
    with store.api() as client:
        run = jobs.find(client, id)
        record = jobs.record_of(client, run)
        values: dict[str, Any] = {"job": run.id, "name": run.name, "endpoint": run.parameters.get("endpoint")}
        values |= {"state": _state(run), "message": run.state.message if run.state else None}
        summary = _summary(record) if run.state is not None and run.state.is_final() else None
        if record is not None:
            values |= {"deployment": record.deployment_label}
            if isinstance(record, PipelineJob):
                values |= _of_pipeline(record, cast("PipelineSummary | None", summary))
            else:
                values |= _of_model(record, cast("Summary | None", summary))
            values |= {"files of the job": record.folder.url}
        values["ui"] = jobs.ui_url(run)
        data = views.of_job(run, values["ui"], record, summary)
    terminal.details(values, data)


def _summary(record: AnyJob | None) -> Summary | PipelineSummary | None:
    if record is None:
        return None
    return read_pipeline_summary(record) if isinstance(record, PipelineJob) else read_summary(record)


def _of_model(job: Job, summary: Summary | None) -> dict[str, Any]:
    values: dict[str, Any] = {"input": job.input.url, "output": job.output.url}
    if summary is not None:
        values["output"] = summary.output
        keys = ("items", "succeeded", "failed", "rows", "mini_batches", "retried_mini_batches", "runs")
        values |= {key.replace("_", " "): getattr(summary, key) for key in keys}
        values["seconds"] = ", ".join(f"{k} {v:g}" for k, v in summary.seconds.items())
        values |= summary.told()
    return values


def _of_pipeline(job: PipelineJob, summary: PipelineSummary | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        f"input {name}": value.location.url if isinstance(value, DataValue) else value
        for name, value in job.inputs.items()
    }
    values |= {f"output {name}": place.location.url for name, place in job.outputs.items()}
    if summary is not None:
        values |= {f"output {name}": summary.outputs.get(name, "not there") for name in job.outputs}
        for step in summary.steps:
            reused = f", reused from job {step.reused_from}" if step.reused_from else f", {step.seconds:g} s"
            values[f"step {step.name}"] = step.state + ("" if step.state == NOT_RUN else reused)
        values |= {"runs": summary.runs, "seconds": f"{summary.seconds:g}"} | summary.told()
    return values


@app.command(name="cost")
def job_cost(
    id: Annotated[str | None, Parameter(name=["--id", "--name", "-n"], help="Of one job; by default all.")] = None,
    *,
    endpoint: Endpoint = None,
    days: Annotated[
        int | None,
        Parameter(help=f"The last so many, with today; by default {costs.DAYS}.", validator=Number(gte=1)),
    ] = None,
    since: Annotated[date | None, Parameter(help="Instead: the first day, in UTC, as in 2026-01-31.")] = None,
) -> None:
    """Show what jobs had of their instances, and what that cost: of one job, or by endpoint and day.

    A job counts on the day, in UTC, on which it began. Killed jobs are in it, and running ones as far as they are.

    Example: prefect-batch job cost --endpoint heart --days 7
    """
    if id is not None and (endpoint is not None or days is not None or since is not None):
        raise InvalidDocument("job cost: give a job, or --endpoint, --days and --since")
    if days is not None and since is not None:
        raise InvalidDocument("--days and --since: give one of them")
    with store.api() as client:
        if id is not None:
            rows = [costs.of_job(client, jobs.find(client, id))]
        else:
            first = since or costs.since_days(days)
            rows = costs.by_day(client, endpoint.lower() if endpoint else None, first, terminal.note)
    show_costs(rows)


def show_costs(rows: list[costs.Cost]) -> None:
    """A table of costs; several come with their sum."""
    whole = costs.total(rows)
    shown = [_cost_row(cost) for cost in rows]
    if len(rows) > 1:
        shown.append(("all", *_cost_row(whole)[1:]))
    columns = ("ENDPOINT", "DAY", "JOBS", "INSTANCE HOURS", "BUSY HOURS", "BUSY", "NODES LOST", "COST")
    terminal.table(columns, shown, [views.of_cost(cost) for cost in rows])


def _cost_row(cost: costs.Cost) -> tuple[Any, ...]:
    bill = cost.bill
    return (
        cost.endpoint,
        cost.day,
        cost.jobs,
        f"{bill.instance_seconds / HOUR:.4f}",
        f"{bill.busy_seconds / HOUR:.4f}",
        percent(bill.utilisation) if bill.utilisation is not None else None,
        bill.nodes_lost,
        ", ".join(money(amount, currency) for currency, amount in bill.money.items()) or None,
    )


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
                update(_state(run), progress.completed, progress.total, progress.failed, progress.units)

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
    output_name: Annotated[
        str | None, Parameter(help="The one output to copy; by default all, and the summary.")
    ] = None,
    all: Annotated[bool, Parameter(help="All of them, which is the default.", negative=())] = False,
) -> None:
    """Copy a finished job's outputs, errors and summary to a local folder.

    Example: prefect-batch job download 5f0c5f1e-... --output-name scores --download-path results/
    """
    if all and output_name is not None:
        raise InvalidDocument("--all and --output-name: give one of them")
    with store.api() as client:
        copied = [str(path) for path in download(client, jobs.find(client, id), download_path, output_name)]
    terminal.results(copied)
