"""`prefect-batch invoke` and `prefect-batch run`.

What a call needs is imported when it is made: the list of all commands does not wait for it.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from . import overrides, terminal
from .cli_options import Deployment, Exclude, File, Include, Input, InputsFile, InputType, LocalFolder, Set, Stream

if TYPE_CHECKING:
    from ..blocks.interface import Interface


def invoke(
    endpoint: Annotated[str, Parameter(name=["--endpoint", "--endpoint-name", "--name", "-n"])],
    *,
    input: Input = [],  # noqa: B006
    input_type: InputType = None,
    include: Include = [],  # noqa: B006
    exclude: Exclude = [],  # noqa: B006
    deployment: Deployment = None,
    output: Annotated[
        str | None, Parameter(name="--output-path", help="Folder for the output: a path, URL or datastore.")
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
    experiment_name: Annotated[
        str | None, Parameter(help="Kept as a tag of the job; by default the endpoint's name.")
    ] = None,
    stream: Stream = False,
) -> None:
    """Call an endpoint: makes a job, prints its id and returns at once.

    Example: prefect-batch invoke heart --input data/ --set mini_batch_size=64MB --stream
    """
    from ..blocks import store
    from .call import interface_of, load_call, reader, request, send
    from .cli_job import job_stream, tell_job

    options = {"mini_batch_size": mini_batch_size, "instance_count": instance_count}
    assigned = [*set, *(f"{key}={value}" for key, value in options.items() if value is not None)]
    onto = load_call(file) if file else {}
    with store.api() as client:
        interface = interface_of(client, endpoint.lower(), deployment)
        given = overrides.parse(assigned, onto, reader(interface))
        parameters = request(given, input, input_type, include, exclude, output, interface)
        job = send(
            client, endpoint, deployment, interface, parameters, job_name=job_name, experiment_name=experiment_name
        )
        tell_job(client, job)
    if stream:
        job_stream(str(job.id))


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
    terminal.results(made, asdict(summary))
