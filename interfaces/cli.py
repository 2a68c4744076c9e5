"""The command `prefect-batch`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import httpx
from cyclopts import App, Parameter
from prefect.client.schemas.objects import FlowRun

from ..blocks import store
from ..blocks.compute import ComputeCluster, builtin_local
from ..blocks.deployment import ModelDeployment, latest, load_deployment, versions
from ..blocks.documents import load_yaml, validate
from ..blocks.endpoint import BatchEndpoint
from ..scoring.errors import BatchError, InvalidDocument, NoServer, NotFound
from . import overrides, terminal

app = App(
    name="prefect-batch",
    help="Batch endpoints on Prefect: score a lot of data, later, cheaply and safely.\n\n"
    "Example: prefect-batch invoke heart --input data/ --stream",
    help_format="plaintext",
    version_flags=["--version"],
)
endpoint_app = App(name="endpoint", help="Make, show, change and delete endpoints.")
deployment_app = App(name="deployment", help="Make, show and delete the deployments of an endpoint.")
job_app = App(name="job", help="List, show, follow, cancel, resume and download jobs.")
compute_app = App(name="compute", help="Make, show and delete compute clusters.")
server_app = App(name="server", help="A Prefect server on this machine, with a worker that runs jobs.")
worker_app = App(name="worker", help="A worker that runs the jobs of a server elsewhere.")
for group in (endpoint_app, deployment_app, job_app, compute_app, server_app, worker_app):
    app.command(group)

File = Annotated[Path, Parameter(name=["--file", "-f"], help="YAML file.")]
OptionalFile = Annotated[Path | None, Parameter(name=["--file", "-f"], help="YAML file.")]
Endpoint = Annotated[str | None, Parameter(name=["--endpoint", "--endpoint-name", "-e"], help="Name of the endpoint.")]
Set = Annotated[
    list[str],
    Parameter(name="--set", help="Override a setting for this job: KEY=VALUE, as in mini_batch_size=2.", negative=()),
]


# --- endpoints ---------------------------------------------------------------------------------------------------


@endpoint_app.command(name="create")
def endpoint_create(name: str | None = None, *, file: OptionalFile = None) -> None:
    """Make an endpoint, or bring an existing one up to date.

    Example: prefect-batch endpoint create -f endpoint.yml
    """
    from ..flows import catalog

    data = load_yaml(file) if file else {}
    data |= {"name": name} if name else {}
    allowed = set(BatchEndpoint.model_fields)
    spec = validate(BatchEndpoint, data, str(file or "endpoint"), allowed)
    with store.api() as client:
        made = catalog.create_endpoint(client, spec)
    terminal.out.print(f"endpoint/{made.name}", highlight=False)
    if made.defaults.deployment_name is None:
        terminal.note(f"Next: prefect-batch deployment create -f deployment.yml --endpoint {made.name} --set-default")


@endpoint_app.command(name="list")
def endpoint_list() -> None:
    """List all endpoints.

    Example: prefect-batch endpoint list
    """
    with store.api() as client:
        found = store.list_all(BatchEndpoint, client)
    rows = [(e.name, e.defaults.deployment_name, e.description) for e in found]
    terminal.table(("NAME", "DEFAULT DEPLOYMENT", "DESCRIPTION"), rows)


@endpoint_app.command(name="show")
def endpoint_show(name: str) -> None:
    """Show an endpoint and its deployments.

    Example: prefect-batch endpoint show heart
    """
    with store.api() as client:
        found = store.load(BatchEndpoint, name.lower(), client)
        deployments = latest(client, found.name)
    terminal.details(
        {
            "name": found.name,
            "description": found.description,
            "default deployment": found.defaults.deployment_name,
            "deployments": ", ".join(deployments) or "none",
            "tags": json.dumps(found.tags),
            "called by": f"prefect deployment run endpoint/{found.name}",
        }
    )


@endpoint_app.command(name="update")
def endpoint_update(
    name: str,
    *,
    default: Annotated[str | None, Parameter(help="Deployment that takes calls which name none.")] = None,
    description: str | None = None,
) -> None:
    """Switch the default deployment, or change the description.

    Example: prefect-batch endpoint update heart --default gbm2
    """
    from ..flows import catalog

    if default is None and description is None:
        raise InvalidDocument("nothing to change: give --default or --description")
    with store.api() as client:
        made = catalog.update_endpoint(client, name.lower(), default, description)
    terminal.out.print(f"endpoint/{made.name}: default deployment {made.defaults.deployment_name}", highlight=False)


@endpoint_app.command(name="delete")
def endpoint_delete(name: str, *, yes: Annotated[bool, Parameter(name=["--yes", "-y"])] = False) -> None:
    """Delete an endpoint and all its deployments; past jobs and their outputs stay.

    Example: prefect-batch endpoint delete heart --yes
    """
    from ..flows import catalog

    _confirm(f"Delete endpoint {name} and all its deployments?", yes)
    with store.api() as client:
        catalog.delete_endpoint(client, name.lower())


# --- deployments -------------------------------------------------------------------------------------------------


@deployment_app.command(name="create")
def deployment_create(
    *,
    file: File,
    endpoint: Endpoint = None,
    name: Annotated[str | None, Parameter(name=["--name", "-n"], help="Instead of the file's.")] = None,
    set_default: Annotated[bool, Parameter(help="Make it the endpoint's default.", negative=())] = False,
) -> None:
    """Make the next version of a deployment; its code and model are copied, so that later edits do not change it.

    Example: prefect-batch deployment create -f deployment.yml --set-default
    """
    from ..flows import catalog

    with store.api() as client:
        made = catalog.create_deployment(client, file, endpoint, name, set_default)
    terminal.out.print(f"{made.endpoint_name}/{made.name} version {made.version}", highlight=False)
    if made.environment is not None:
        terminal.note("Note: environment is recorded, not built: jobs run in the Python of the worker.")
    if not set_default:
        terminal.note(
            f"To make it the default: prefect-batch endpoint update {made.endpoint_name} --default {made.name}"
        )


@deployment_app.command(name="list")
def deployment_list(*, endpoint: Endpoint = None) -> None:
    """List deployments, of one endpoint or of all.

    Example: prefect-batch deployment list -e heart
    """
    with store.api() as client:
        endpoints = {e.name: e.defaults.deployment_name for e in store.list_all(BatchEndpoint, client)}
        if endpoint is not None:
            endpoints = {endpoint.lower(): store.load(BatchEndpoint, endpoint.lower(), client).defaults.deployment_name}
        found = [d for name in endpoints for d in latest(client, name).values()]
    rows = [
        (d.endpoint_name, d.name, d.version, "yes" if endpoints[d.endpoint_name] == d.name else "", d.compute)
        for d in found
    ]
    terminal.table(("ENDPOINT", "NAME", "VERSION", "DEFAULT", "COMPUTE"), rows)


@deployment_app.command(name="show")
def deployment_show(name: str, *, endpoint: Endpoint = None) -> None:
    """Show a deployment's newest version as JSON.

    Example: prefect-batch deployment show gbm -e heart
    """
    with store.api() as client:
        held = versions(client, _endpoint_of(client, endpoint, name.lower()), name.lower())
    terminal.out.print_json(held[-1].model_dump_json(exclude={"block_type_slug"}))


@deployment_app.command(name="delete")
def deployment_delete(
    name: str, *, endpoint: Endpoint = None, yes: Annotated[bool, Parameter(name=["--yes", "-y"])] = False
) -> None:
    """Delete all versions of a deployment.

    Example: prefect-batch deployment delete gbm -e heart --yes
    """
    from ..flows import catalog

    _confirm(f"Delete deployment {name}?", yes)
    with store.api() as client:
        catalog.remove_deployment(client, _endpoint_of(client, endpoint, name.lower()), name.lower())


def _endpoint_of(client: Any, endpoint: str | None, deployment: str) -> str:
    """The endpoint that is meant: the named one, or the only one with a deployment of that name."""
    if endpoint is not None:
        if not versions(client, endpoint.lower(), deployment):
            raise NotFound(f"Deployment {deployment!r} not found for endpoint {endpoint!r}")
        return endpoint.lower()
    found = {d.endpoint_name for d in store.list_all(ModelDeployment, client, name=deployment)}
    if len(found) != 1:
        what = f"endpoints {', '.join(sorted(found))} each have one" if found else "no endpoint has it"
        raise NotFound(f"deployment {deployment!r}: {what}; name the endpoint with --endpoint")
    return found.pop()


# --- jobs --------------------------------------------------------------------------------------------------------


@app.command
def invoke(
    endpoint: str,
    *,
    input: Annotated[str | None, Parameter(help="Folder or file to score.")] = None,
    deployment: Annotated[str | None, Parameter(name=["--deployment", "--deployment-name", "-d"])] = None,
    output: Annotated[str | None, Parameter(name=["--output", "--output-path"], help="Folder for the output.")] = None,
    set: Set = [],  # noqa: B006
    mini_batch_size: Annotated[int | None, Parameter(name=["--mini-batch-size", "-m"])] = None,
    instance_count: Annotated[int | None, Parameter(name=["--instance-count", "-c"])] = None,
    job_name: str | None = None,
    stream: Annotated[bool, Parameter(help="Follow the job until it ends.", negative=())] = False,
) -> None:
    """Call an endpoint: makes a job, prints its id and returns at once.

    Example: prefect-batch invoke heart --input data/ --set mini_batch_size=2 --stream
    """
    from ..flows import jobs

    settings = overrides.parse(set)
    settings |= {"mini_batch_size": mini_batch_size} if mini_batch_size is not None else {}
    settings |= {"instance_count": instance_count} if instance_count is not None else {}
    parameters: dict[str, Any] = {}
    if input is not None:
        parameters["inputs"] = {"data": overrides.local_path(input, "--input", must_exist=True)}
    if output is not None:
        parameters["outputs"] = {"score": overrides.local_path(output, "--output", must_exist=False)}
    parameters |= {"deployment": deployment.lower()} if deployment else {}
    parameters |= {"settings": settings} if settings else {}
    with store.api() as client:
        job = jobs.invoke(client, endpoint.lower(), parameters, job_name)
        terminal.out.print(str(job.id), highlight=False)
        if (url := jobs.ui_url(job)) is not None:
            terminal.note(f"Job {job.name}: {url}")
        if not jobs.workers_online(client):
            terminal.note(
                "No worker is online: the job waits until one is. Start one with `prefect-batch worker start`"
            )
    if stream:
        job_stream(str(job.id))


@job_app.command(name="list")
def job_list(*, endpoint: Endpoint = None, limit: int = 50) -> None:
    """List jobs, the newest first.

    Example: prefect-batch job list --endpoint heart
    """
    from ..flows import jobs

    with store.api() as client:
        found = jobs.list_jobs(client, endpoint.lower() if endpoint else None, limit)
    rows = [(run.id, run.parameters.get("endpoint"), run.name, _state(run), _time(run)) for run in found]
    terminal.table(("ID", "ENDPOINT", "NAME", "STATE", "STARTED"), rows)


def _state(run: FlowRun) -> str:
    return (run.state.name or run.state.type.value) if run.state else "Unknown"


def _time(run: FlowRun) -> str:
    when = run.start_time or run.expected_start_time
    return when.astimezone().isoformat(sep=" ", timespec="seconds") if when else ""


@job_app.command(name="show")
def job_show(id: str) -> None:
    """Show a job: its state, what it reads and writes, its summary.

    Example: prefect-batch job show 5f0c5f1e-...
    """
    from ..flows import jobs
    from ..flows.score_job import SUMMARY, read_summary

    with store.api() as client:
        run = jobs.find(client, id)
        record = jobs.record_of(client, run)
        values: dict[str, Any] = {"job": run.id, "name": run.name, "endpoint": run.parameters.get("endpoint")}
        values |= {"state": _state(run), "message": run.state.message if run.state else None}
        if record is not None:
            values |= {"deployment": record.deployment_label, "input": record.input.url, "output": record.output.url}
            values |= {"files of the job": record.root}
            if record.folder.exists(SUMMARY) and run.state and run.state.is_final():
                summary = read_summary(record)
                keys = ("items", "succeeded", "failed", "rows", "mini_batches", "retried_mini_batches", "runs")
                values |= {key.replace("_", " "): summary[key] for key in keys}
                values["seconds"] = ", ".join(f"{k} {v:g}" for k, v in summary["seconds"].items())
        values["ui"] = jobs.ui_url(run)
    terminal.details(values)


@job_app.command(name="stream")
def job_stream(id: str) -> None:
    """Follow a job until it ends; Ctrl-C ends the following, not the job. Exit code 1 unless it completed.

    Example: prefect-batch job stream 5f0c5f1e-...
    """
    from ..flows import jobs

    with store.api() as client, terminal.progress_bar() as update:

        def show(run: FlowRun, progress: jobs.Progress | None) -> None:
            if progress is None:
                update(_state(run), 0, None, 0)
            else:
                update(_state(run), progress.completed, progress.total, progress.failed)

        ended = jobs.follow(client, jobs.find(client, id).id, show, terminal.note)
    message = ended.state.message if ended.state else ""
    terminal.note(f"{_state(ended)}: {message}")
    if not (ended.state and ended.state.is_completed()):
        sys.exit(1)


@job_app.command(name="cancel")
def job_cancel(id: str) -> None:
    """Stop a job; what it has finished is kept, and it can be resumed.

    Example: prefect-batch job cancel 5f0c5f1e-...
    """
    from ..flows import jobs

    with store.api() as client:
        jobs.cancel(client, jobs.find(client, id))


@job_app.command(name="resume")
def job_resume(
    id: str, *, force: Annotated[bool, Parameter(help="Also if it seems to run.", negative=())] = False
) -> None:
    """Start a job again that did not complete; it goes on from what it had finished.

    Example: prefect-batch job resume 5f0c5f1e-...
    """
    from ..flows import jobs

    with store.api() as client:
        jobs.resume(client, jobs.find(client, id), force)


@job_app.command(name="download")
def job_download(
    id: str, *, download_path: Annotated[Path, Parameter(name=["--download-path", "-p"])] = Path()
) -> None:
    """Copy a finished job's output, errors and summary to a local folder.

    Example: prefect-batch job download 5f0c5f1e-... --download-path results/
    """
    from ..flows import jobs

    with store.api() as client:
        for path in jobs.download(client, jobs.find(client, id), download_path):
            sys.stdout.write(f"{path}\n")


@app.command
def run(
    *,
    file: File,
    input: Annotated[str, Parameter(help="Folder or file to score.")],
    output: Annotated[Path, Parameter(help="Folder for all files of the job; must be new or empty.")],
    set: Set = [],  # noqa: B006
) -> None:
    """Try a deployment out on this machine: no server, no endpoint, the same code, the same files.

    Example: prefect-batch run -f deployment.yml --input data/ --output out/
    """
    from .local_run import run_deployment

    summary = run_deployment(load_deployment(file, endpoint=None), file, input, output, overrides.parse(set))
    terminal.note(f"{summary.state}: {summary.message}")
    if not summary.completed:
        sys.exit(1)
    sys.stdout.write(f"{summary.output}\n")


# --- compute -----------------------------------------------------------------------------------------------------


@compute_app.command(name="create")
def compute_create(
    name: str | None = None,
    *,
    file: OptionalFile = None,
    type: str | None = None,
    address: Annotated[str | None, Parameter(help="Of a running Dask scheduler, for --type address.")] = None,
    max_instances: int | None = None,
) -> None:
    """Make a compute cluster: processes on the worker's machine, or a running Dask scheduler.

    Example: prefect-batch compute create cluster --type address --address tcp://10.0.0.4:8786
    """
    data = load_yaml(file) if file else {}
    given = {"name": name, "type": type, "address": address, "max_instances": max_instances}
    data |= {key: value for key, value in given.items() if value is not None}
    cluster = validate(ComputeCluster, data, str(file or "compute"), set_of_fields(ComputeCluster))
    with store.api() as client:
        store.create(cluster, cluster.name, client)
    terminal.out.print(cluster.name, highlight=False)


def set_of_fields(model: type[Any]) -> set[str]:
    """Keys that a YAML file of this kind may have."""
    return set(model.model_fields)


@compute_app.command(name="list")
def compute_list() -> None:
    """List compute clusters; `local` is always there.

    Example: prefect-batch compute list
    """
    with store.api() as client:
        found = store.list_all(ComputeCluster, client)
    found = found if any(c.name == "local" for c in found) else [builtin_local(), *found]
    terminal.table(("NAME", "TYPE", "ADDRESS"), [(c.name, c.type, c.address) for c in found])


@compute_app.command(name="show")
def compute_show(name: str) -> None:
    """Show a compute cluster.

    Example: prefect-batch compute show local
    """
    from ..flows.endpoint import find_compute

    with store.api() as client:
        terminal.out.print_json(find_compute(client, name.lower()).model_dump_json(exclude={"block_type_slug"}))


@compute_app.command(name="delete")
def compute_delete(name: str, *, yes: Annotated[bool, Parameter(name=["--yes", "-y"])] = False) -> None:
    """Delete a compute cluster's record; what runs on it goes on.

    Example: prefect-batch compute delete cluster --yes
    """
    _confirm(f"Delete compute {name}?", yes)
    with store.api() as client:
        store.delete(ComputeCluster, name.lower(), client)


# --- server and worker -------------------------------------------------------------------------------------------


@server_app.command(name="start")
def server_start(
    *,
    host: str = "127.0.0.1",
    port: int = 4200,
    worker: Annotated[bool, Parameter(help="Also run jobs on this machine.")] = True,
) -> None:
    """Start a Prefect server with its UI, and a worker; both end with Ctrl-C.

    Example: prefect-batch server start --port 4200
    """
    from .local_server import LocalServer

    server = LocalServer(host, port)
    try:
        server.start(worker)
        terminal.note(f"UI: {server.ui_url}\nIn other terminals: prefect config set PREFECT_API_URL={server.api_url}")
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


@worker_app.command(name="start")
def worker_start() -> None:
    """Run jobs on this machine; relative paths in requests mean the current folder. Ends with Ctrl-C.

    Example: PREFECT_API_URL=http://host:4200/api prefect-batch worker start
    """
    import os

    from ..flows.catalog import WORK_POOL, ensure_work_pool
    from ..flows.inputs import WORKING_DIRECTORY
    from .local_server import WORKER_SETTINGS

    with store.api() as client:
        ensure_work_pool(client)
    environment = {**WORKER_SETTINGS, **os.environ, WORKING_DIRECTORY: str(Path.cwd())}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process"]
    os.execve(sys.executable, command, environment)


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidDocument(f"{question} Say so with --yes")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        sys.exit(1)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a known error is one line on stderr and exit code 1."""
    try:
        app(arguments)
    except BatchError as error:
        terminal.note(f"Error: {error}")
        sys.exit(1)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        terminal.note(f"Error: {NoServer()}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


__all__ = ["app", "cyclopts", "main"]
