"""`prefect-batch endpoint`, and `prefect-batch batch-endpoint`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from ..blocks import store
from ..blocks.deployment import latest
from ..blocks.documents import load_yaml, merged
from ..blocks.endpoint import BatchEndpoint, parse_endpoint
from ..flows import catalog
from ..scoring.errors import InvalidDocument
from . import overrides, terminal, views
from .cli_call import invoke
from .cli_job import list_jobs
from .cli_options import MaxResults, Name, OptionalFile, OptionalName, SetKeys, Yes, confirm

app = App(name="endpoint")
app.command(
    f"{__package__}.cli_schedule:app", name="schedule", help="Make, list, pause, resume and delete its schedules."
)
app.command(invoke)


@app.command(name="create")
def endpoint_create(
    name: OptionalName = None,
    *,
    file: OptionalFile = None,
    description: str | None = None,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Make an endpoint, or bring an existing one up to date.

    Example: prefect-batch endpoint create -f endpoint.yml --set tags.team=blue
    """
    given = overrides.document(set, name=name, description=description)
    data = merged(load_yaml(file) if file else {}, given)
    made, deployments = _apply(data, file)
    terminal.result(f"endpoint/{made.name}", views.of_endpoint(made, deployments))
    if made.defaults.deployment_name is None:
        terminal.note(f"Next: prefect-batch deployment create -f FILE --endpoint {made.name} --set-default")


def _apply(data: dict[str, Any], file: Path | None) -> tuple[BatchEndpoint, list[str]]:
    """The endpoint as it is then, and the names of its deployments."""
    spec = parse_endpoint(data, str(file or "endpoint"))
    with store.api() as client:
        made = catalog.create_endpoint(client, spec)
        return made, list(latest(client, made.name))


@app.command(name="list")
def endpoint_list() -> None:
    """List all endpoints.

    Example: prefect-batch endpoint list
    """
    with store.api() as client:
        found = store.list_all(BatchEndpoint, client)
        data = [views.of_endpoint(endpoint, latest(client, endpoint.name)) for endpoint in found]
    rows = [(e.name, e.defaults.deployment_name, e.description) for e in found]
    terminal.table(("NAME", "DEFAULT DEPLOYMENT", "DESCRIPTION"), rows, data)


@app.command(name="show")
def endpoint_show(name: Name) -> None:
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
        },
        views.of_endpoint(found, deployments),
    )


@app.command(name="update")
def endpoint_update(
    name: OptionalName = None,
    *,
    file: OptionalFile = None,
    default: Annotated[
        str | None,
        Parameter(name=["--default", "--defaults"], help="Deployment that takes calls which name none."),
    ] = None,
    description: str | None = None,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Switch the default deployment, or change the description or other keys.

    Example: prefect-batch endpoint update heart --default gbm2
    """
    data = (load_yaml(file) if file else {}) | ({"name": name} if name is not None else {})
    changes = overrides.document(set, description=description)
    if default is not None:
        changes["defaults"] = {"deployment_name": default.removeprefix("deployment_name=")}
    if not changes and file is None:
        raise InvalidDocument("nothing to change: give --default, --description, --set or --file")
    if "name" not in data:
        raise InvalidDocument("which endpoint? give its --name")
    with store.api() as client:
        held = store.load(BatchEndpoint, str(data["name"]).lower(), client).model_dump(mode="json")
    data |= merged({key: data.get(key, held.get(key)) for key in changes}, changes)
    made, deployments = _apply(data, file)
    line = f"endpoint/{made.name}: default deployment {made.defaults.deployment_name}"
    terminal.result(line, views.of_endpoint(made, deployments))


@app.command(name="list-jobs")
def endpoint_list_jobs(name: Name, *, limit: MaxResults = 50) -> None:
    """List the jobs of an endpoint, the newest first.

    Example: prefect-batch endpoint list-jobs heart --query "[?status=='Failed'].name" -o tsv
    """
    with store.api() as client:
        store.load(BatchEndpoint, name.lower(), client)
    list_jobs(name, None, limit)


@app.command(name="delete")
def endpoint_delete(name: Name, *, yes: Yes = False) -> None:
    """Delete an endpoint and all its deployments; past jobs and their outputs stay.

    Example: prefect-batch endpoint delete heart --yes
    """
    confirm(f"Delete endpoint {name} and all its deployments?", yes)
    with store.api() as client:
        catalog.delete_endpoint(client, name.lower())
