"""`prefect-batch endpoint`."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import App, Parameter

from ..blocks import store
from ..blocks.deployment import latest
from ..blocks.documents import load_yaml, validate
from ..blocks.endpoint import BatchEndpoint
from ..flows import catalog
from ..scoring.errors import InvalidDocument
from . import terminal
from .cli_options import Name, OptionalFile, OptionalName, Yes, confirm

app = App(name="endpoint")


@app.command(name="create")
def endpoint_create(name: OptionalName = None, *, file: OptionalFile = None) -> None:
    """Make an endpoint, or bring an existing one up to date.

    Example: prefect-batch endpoint create -f endpoint.yml
    """
    data = load_yaml(file) if file else {}
    data |= {"name": name} if name else {}
    allowed = set(BatchEndpoint.model_fields)
    spec = validate(BatchEndpoint, data, str(file or "endpoint"), allowed)
    with store.api() as client:
        made = catalog.create_endpoint(client, spec)
    terminal.result(f"endpoint/{made.name}")
    if made.defaults.deployment_name is None:
        terminal.note(f"Next: prefect-batch deployment create -f FILE --endpoint {made.name} --set-default")


@app.command(name="list")
def endpoint_list() -> None:
    """List all endpoints.

    Example: prefect-batch endpoint list
    """
    with store.api() as client:
        found = store.list_all(BatchEndpoint, client)
    rows = [(e.name, e.defaults.deployment_name, e.description) for e in found]
    terminal.table(("NAME", "DEFAULT DEPLOYMENT", "DESCRIPTION"), rows)


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
        }
    )


@app.command(name="update")
def endpoint_update(
    name: Name,
    *,
    default: Annotated[str | None, Parameter(help="Deployment that takes calls which name none.")] = None,
    description: str | None = None,
) -> None:
    """Switch the default deployment, or change the description.

    Example: prefect-batch endpoint update heart --default gbm2
    """
    if default is None and description is None:
        raise InvalidDocument("nothing to change: give --default or --description")
    with store.api() as client:
        made = catalog.update_endpoint(client, name.lower(), default, description)
    terminal.result(f"endpoint/{made.name}: default deployment {made.defaults.deployment_name}")


@app.command(name="delete")
def endpoint_delete(name: Name, *, yes: Yes = False) -> None:
    """Delete an endpoint and all its deployments; past jobs and their outputs stay.

    Example: prefect-batch endpoint delete heart --yes
    """
    confirm(f"Delete endpoint {name} and all its deployments?", yes)
    with store.api() as client:
        catalog.delete_endpoint(client, name.lower())
