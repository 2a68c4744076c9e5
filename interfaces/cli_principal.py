"""`prefect-batch principal`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from prefect.blocks.fields import SecretDict
from prefect.client.orchestration import SyncPrefectClient

from ..blocks import principal as principals
from ..blocks import store
from ..blocks.api_key import list_keys
from ..blocks.datastore import find_datastore
from ..blocks.datastore_file import parse_credentials
from ..blocks.documents import load_yaml
from ..blocks.principal import DatastoreCredentials, Principal
from ..scoring.errors import BatchError
from . import overrides, terminal, views
from .cli_options import Name, OptionalFile, Yes, confirm

app = App(name="principal")

Allow = Annotated[
    list[str] | None,
    Parameter(
        help="Grants, as in invoke:heart, read:* or manage:heart.", negative=("--allow-nothing",), consume_multiple=True
    ),
]
Deny = Annotated[
    list[str] | None,
    Parameter(
        name="--deny-datastore",
        help="Datastores that the principal's jobs may neither read nor write.",
        negative=("--deny-no-datastore",),
        consume_multiple=True,
    ),
]
DatastoreOption = Annotated[str, Parameter(name=["--datastore", "-d"])]


@app.command(name="create")
def principal_create(
    name: Name, *, allow: Allow = None, deny_datastore: Deny = None, description: str | None = None
) -> None:
    """Say what a principal, or a role (role:NAME), may do. What is not given stays as it was.

    Example: prefect-batch principal create ci --allow invoke:heart read:heart --deny-datastore lake
    """
    with store.api() as client:
        _save(client, name, allow, deny_datastore, description)


@app.command(name="update")
def principal_update(
    name: Name, *, allow: Allow = None, deny_datastore: Deny = None, description: str | None = None
) -> None:
    """Change what a principal may do: a list that is given takes the place of the one before.

    Example: prefect-batch principal update ci --allow invoke:* --deny-no-datastore
    """
    with store.api() as client:
        principals.find_principal(client, name)
        _save(client, name, allow, deny_datastore, description)


def _save(
    client: SyncPrefectClient,
    name: str,
    allow: list[str] | None,
    deny_datastore: list[str] | None,
    description: str | None,
) -> None:
    given = {"name": name, "allow": allow, "denied_datastores": deny_datastore, "description": description}
    for datastore in deny_datastore or ():
        find_datastore(client, datastore)  # a name that is misspelt would deny nothing
    made = Principal.model_validate({key: value for key, value in given.items() if value is not None})
    stored = principals.create_principal(client, made)
    terminal.result(stored.name, _view(client, stored))


def _view(client: SyncPrefectClient, principal: Principal) -> dict[str, Any]:
    held = principals.list_credentials(client, principal.name)
    return views.keys_of(principal) | {"credentials": [one.datastore for one in held]}


@app.command(name="list")
def principal_list() -> None:
    """List principals and roles.

    Example: prefect-batch principal list
    """
    with store.api() as client:
        found = principals.list_principals(client)
        data = [_view(client, one) for one in found]
    rows = [(one.name, " ".join(one.allow), " ".join(one.denied_datastores), one.description) for one in found]
    terminal.table(("NAME", "ALLOW", "DENIED_DATASTORES", "DESCRIPTION"), rows, data)


@app.command(name="show")
def principal_show(name: Name) -> None:
    """Show a principal, and for which datastores it has credentials of its own.

    Example: prefect-batch principal show ci
    """
    with store.api() as client:
        terminal.document(_view(client, principals.find_principal(client, name)))


@app.command(name="delete")
def principal_delete(name: Name, *, yes: Yes = False) -> None:
    """Delete a principal: its grants, its credentials for datastores, and what is denied to it.

    Example: prefect-batch principal delete ci --yes
    """
    confirm(f"Delete principal {name}?", yes)
    with store.api() as client:
        if keys := [key.id for key in list_keys(client, name)]:
            raise BatchError(
                f"principal {name!r} has API keys ({', '.join(keys)}), to which nothing would be denied any more: "
                "revoke them first with `prefect-batch token revoke ID`"
            )
        principals.delete_principal(client, name)


@app.command(name="set-credentials")
def principal_set_credentials(
    name: Name,
    *,
    datastore: DatastoreOption,
    file: OptionalFile = None,
    set: Annotated[list[str], Parameter(name="--set", help='Credentials, as in account_key="$KEY".', negative=())] = [],  # noqa: B006
) -> None:
    """Open a datastore for a principal's jobs with credentials of its own: the keys under `credentials` in the
    datastore's file.

    Example: prefect-batch principal set-credentials ci --datastore lake -f credentials.yml
    """
    given = (load_yaml(file) if file else {}) | overrides.secrets(set)
    with store.api() as client:
        held = find_datastore(client, datastore)
        beside = file.parent if file else Path.cwd()
        secret = parse_credentials(held, given, str(file) if file else "--set", beside)
        made = DatastoreCredentials(principal=name, datastore=held.name, url=held.url, credentials=SecretDict(secret))
        principals.set_credentials(client, made)
    terminal.result(held.name, {"principal": name, "datastore": held.name, "credentials": sorted(secret)})


@app.command(name="delete-credentials")
def principal_delete_credentials(name: Name, *, datastore: DatastoreOption, yes: Yes = False) -> None:
    """Open a datastore for a principal's jobs with the datastore's own credentials again.

    Example: prefect-batch principal delete-credentials ci --datastore lake --yes
    """
    confirm(f"Delete the credentials of {name} for {datastore}?", yes)
    with store.api() as client:
        principals.remove_credentials(client, name, datastore.lower())
