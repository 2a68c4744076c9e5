"""The command `prefect-batch`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import httpx
from cyclopts import App, Parameter

from ..scoring.errors import BatchError, NoServer
from . import overrides, terminal
from .cli_options import Exclude, File, Include, Input, InputsFile, InputType, LocalFolder, Set, Stream

app = App(
    name="prefect-batch",
    help="Batch endpoints on Prefect: score a lot of data, later, cheaply and safely.\n\n"
    "Example: prefect-batch invoke heart --input data/ --stream",
    help_format="plaintext",
    version_flags=["--version"],
    default_parameter=Parameter(show_default=lambda value: value or None),
)
# By name: a group is imported when it is called, so that no command waits for what another needs.
_GROUPS = {
    "endpoint": ("cli_endpoint:app", "Make, show, change and delete endpoints."),
    "deployment": ("cli_deployment:app", "Make, show and delete the deployments of an endpoint."),
    "job": ("cli_job:app", "List, show, follow, cancel, resume and download jobs."),
    "compute": ("cli_compute:app", "Make, show and delete compute clusters."),
    "datastore": ("cli_datastore:app", "Make, show and delete datastores, and choose the default."),
    "component": ("cli_component:app", "Register, show and archive components, of which pipelines are made."),
    "data": ("cli_data:app", "Make, show and archive data assets."),
    "server": ("cli_server:app", "A Prefect server on this machine, with a worker that runs jobs."),
    "worker": ("cli_server:worker_app", "A worker that runs the jobs of a server elsewhere."),
}
for _name, (_where, _help) in _GROUPS.items():
    app.command(f"{__package__}.{_where}", name=_name, help=_help)


@app.command
def invoke(
    endpoint: Annotated[str, Parameter(name=["--endpoint", "--name", "-n"])],
    *,
    input: Input = [],  # noqa: B006
    input_type: InputType = None,
    include: Include = [],  # noqa: B006
    exclude: Exclude = [],  # noqa: B006
    deployment: Annotated[
        str | None, Parameter(name=["--deployment", "--deployment-name", "-d"], help="Instead of the default.")
    ] = None,
    output: Annotated[
        str | None,
        Parameter(name="--output-path", help="Folder for the output: a path, URL or datastore."),
    ] = None,
    file: InputsFile = None,
    set: Set = [],  # noqa: B006
    mini_batch_size: Annotated[
        str | None, Parameter(name=["--mini-batch-size", "-m"], help="A number of files, '64MB' or '50000 rows'.")
    ] = None,
    instance_count: Annotated[
        int | None, Parameter(name=["--instance-count", "-c"], help="Instances of the compute that this job takes.")
    ] = None,
    job_name: Annotated[str | None, Parameter(help="Instead of a name made up.")] = None,
    stream: Stream = False,
) -> None:
    """Call an endpoint: makes a job, prints its id and returns at once.

    Example: prefect-batch invoke heart --input data/ --set mini_batch_size=64MB --stream
    """
    from ..blocks import store
    from ..blocks.documents import validate
    from ..blocks.pipeline_settings import JobPipelineSettings
    from ..blocks.settings import JobSettings
    from ..flows import jobs
    from .call import bring_within_reach, interface_of, load_call, reader, request
    from .cli_job import job_stream, tell_job

    options = {"mini_batch_size": mini_batch_size, "instance_count": instance_count}
    assigned = [*set, *(f"{key}={value}" for key, value in options.items() if value is not None)]
    onto = load_call(file) if file else {}
    with store.api() as client:
        interface = interface_of(client, endpoint.lower(), deployment)
        given = overrides.parse(assigned, onto, reader(interface))
        parameters = request(given, input, input_type, include, exclude, output, interface)
        kind = JobSettings if interface is None else JobPipelineSettings
        validate(kind, parameters.get("settings", {}), "--set")  # the server checks too, but explains less
        parameters |= {"deployment": deployment.lower()} if deployment else {}
        bring_within_reach(parameters, client, interface)
        job = jobs.invoke(client, endpoint.lower(), parameters, job_name)
        tell_job(client, job)
    if stream:
        job_stream(str(job.id))


@app.command
def run(
    *,
    file: File,
    input: Input = [],  # noqa: B006
    output: Annotated[
        LocalFolder, Parameter(name="--output-path", help="Folder for all files of the job; must be new or empty.")
    ],
    input_type: InputType = None,
    include: Include = [],  # noqa: B006
    exclude: Exclude = [],  # noqa: B006
    set: Set = [],  # noqa: B006
) -> None:
    """Try a deployment out on this machine: no server, no endpoint, the same code, the same files.

    Example: prefect-batch run -f deployment.yml --input data/ --output-path out/
    """
    from ..blocks.deployment import load_deployment
    from ..blocks.interface import Interface
    from ..blocks.pipeline_deployment import PipelineDeployment
    from .call import bring_within_reach, reader, request
    from .local_run import run_deployment, run_pipeline

    def call(interface: Interface | None) -> dict[str, Any]:
        given = overrides.parse(set, read=reader(interface))
        made = request(given, input, input_type, include, exclude, None, interface)
        bring_within_reach(made, None, interface)
        return made

    deployment = load_deployment(file, endpoint=None)
    if isinstance(deployment, PipelineDeployment):
        summary = run_pipeline(deployment, file, call, output)
        made = list(summary.outputs.values())
    else:
        summary = run_deployment(deployment, file, call(None), output)
        made = [summary.output]
    terminal.note(f"{summary.state}: {summary.message}")
    if not summary.completed:
        sys.exit(1)
    for place in made:
        terminal.result(place)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a known error is one line on stderr and exit code 1, one of usage 2."""
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's notice on telemetry would stand between our lines
    try:
        try:
            app(overrides.spread(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except BatchError as error:
        terminal.note(f"Error: {error}")
        sys.exit(1)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        terminal.note(f"Error: {NoServer()}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
