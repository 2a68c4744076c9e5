"""`prefect-batch deployment`, and `prefect-batch batch-deployment`."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from ..blocks import store
from ..blocks.deployment import Deployment, endpoints_with, latest, versions
from ..blocks.endpoint import BatchEndpoint
from ..blocks.model_deployment import ModelDeployment
from ..flows import catalog
from ..flows.deployment_update import update_deployment
from ..scoring.errors import InvalidDocument, NotFound
from . import overrides, terminal, views
from .cli_job import list_jobs
from .cli_options import Endpoint, File, MaxResults, Name, OptionalFile, OptionalName, SetKeys, Yes, confirm

app = App(name="deployment")


@app.command(name="create")
def deployment_create(
    *,
    file: File,
    endpoint: Endpoint = None,
    name: Annotated[str | None, Parameter(name=["--name", "-n"], help="Instead of the file's.")] = None,
    set_default: Annotated[bool, Parameter(help="Make it the endpoint's default.", negative=())] = False,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Make the next version of a deployment; its code and model are copied, so that later edits do not change it.

    Example: prefect-batch deployment create -f deployment.yml --set-default
    """
    with store.api() as client:
        made = catalog.create_deployment(client, file, endpoint, name, set_default, overrides.document(set))
    _tell(made)
    if recorded := _recorded_only(made):
        what = f"{' and '.join(recorded)} {'is' if len(recorded) == 1 else 'are'} recorded, and of no effect"
        terminal.note(f"Note: {what}: jobs run in the Python of the worker, on the deployment's compute.")
    if not set_default:
        terminal.note(
            f"To make it the default: prefect-batch endpoint update {made.endpoint_name} --default {made.name}"
        )


def _tell(made: Deployment) -> None:
    terminal.result(f"{made.endpoint_name}/{made.name} version {made.version}", views.of_deployment(made))


@app.command(name="update")
def deployment_update(
    name: OptionalName = None,
    *,
    endpoint: Endpoint = None,
    file: OptionalFile = None,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Make the next version of a deployment with other settings, and the same code and model.

    With --file, its code and model are copied again, as `deployment create` does.

    Example: prefect-batch deployment update gbm -e heart --set settings.mini_batch_size=20
    """
    with store.api() as client:
        if file is not None:
            made = catalog.create_deployment(client, file, endpoint, name, changes=overrides.document(set))
        elif name is None or not set:
            raise InvalidDocument("nothing to change: give --name and --set, or --file")
        else:
            held = _endpoint_of(client, endpoint, name.lower())
            made = update_deployment(client, held, name.lower(), overrides.document(set))
    _tell(made)


@app.command(name="list")
def deployment_list(endpoint: Endpoint = None) -> None:
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
    data = [views.of_deployment(d) for d in found]
    terminal.table(("ENDPOINT", "NAME", "VERSION", "DEFAULT", "COMPUTE"), rows, data)


@app.command(name="show")
def deployment_show(name: Name, *, endpoint: Endpoint = None) -> None:
    """Show a deployment's newest version as JSON.

    Example: prefect-batch deployment show gbm -e heart
    """
    with store.api() as client:
        held = versions(client, _endpoint_of(client, endpoint, name.lower()), name.lower())
    terminal.document(views.of_deployment(held[-1]))


@app.command(name="list-jobs")
def deployment_list_jobs(name: Name, *, endpoint: Endpoint = None, limit: MaxResults = 50) -> None:
    """List the jobs that a deployment ran, the newest first.

    Example: prefect-batch deployment list-jobs gbm -e heart
    """
    with store.api() as client:
        held = _endpoint_of(client, endpoint, name.lower())
    list_jobs(held, name.lower(), limit)


@app.command(name="delete")
def deployment_delete(name: Name, *, endpoint: Endpoint = None, yes: Yes = False) -> None:
    """Delete all versions of a deployment.

    Example: prefect-batch deployment delete gbm -e heart --yes
    """
    confirm(f"Delete deployment {name}?", yes)
    with store.api() as client:
        catalog.remove_deployment(client, _endpoint_of(client, endpoint, name.lower()), name.lower())


def _recorded_only(deployment: Deployment) -> list[str]:
    """The keys of a deployment that change nothing of what its jobs do."""
    if isinstance(deployment, ModelDeployment):
        return []
    steps = list(deployment.graph.jobs.values()) if deployment.graph is not None else []
    found = {
        "environment of steps": any(step.environment or step.component.environment for step in steps),
        "compute of steps": any(step.compute for step in steps),
        "resources of steps": any(step.resources or step.component.resources for step in steps),
        "distribution of steps": any(step.component.distribution for step in steps),
        "identity of steps": any(step.identity for step in steps),
    }
    return [name for name, stands_there in found.items() if stands_there]


def _endpoint_of(client: Any, endpoint: str | None, deployment: str) -> str:
    """The endpoint that is meant: the named one, or the only one with a deployment of that name."""
    if endpoint is not None:
        if not versions(client, endpoint.lower(), deployment):
            raise NotFound(f"Deployment {deployment!r} not found for endpoint {endpoint!r}")
        return endpoint.lower()
    found = endpoints_with(client, deployment)
    if len(found) != 1:
        what = f"endpoints {', '.join(found)} each have one" if found else "no endpoint has it"
        raise NotFound(f"deployment {deployment!r}: {what}; name the endpoint with --endpoint")
    return found.pop()
