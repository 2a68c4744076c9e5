"""`prefect-batch datastore`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from ..blocks import datastore as datastores
from ..blocks import store
from ..blocks.datastore_file import load_datastore, parse_datastore
from . import overrides, terminal, views
from .cli_options import LocalFolder, Name, OptionalFile, OptionalName, Yes, confirm

app = App(name="datastore")

SetKey = Annotated[
    list[str],
    Parameter(
        name="--set",
        help='Set keys of the file: KEY=VALUE, as in bucket=data or credentials.account_key="$KEY".',
        negative=(),
    ),
]


@app.command(name="create")
def datastore_create(
    name: OptionalName = None,
    *,
    file: OptionalFile = None,
    type: Annotated[str | None, Parameter(help="local, azure_blob, azure_data_lake_gen2, s3, gcs or url.")] = None,
    path: Annotated[LocalFolder | None, Parameter(help="Of the folder, for --type local.")] = None,
    url: Annotated[str | None, Parameter(help="Any URL that fsspec opens, for --type url.")] = None,
    read_only: Annotated[bool | None, Parameter(help="Refuse outputs.")] = None,
    description: str | None = None,
    set: SetKey = [],  # noqa: B006
) -> None:
    """Make a datastore, or change an existing one's credentials, options, description or read-only flag.

    Example: prefect-batch datastore create sales --type s3 --set bucket=sales region=eu-west-1
    """
    given = _keys(set) | overrides.document(
        [],
        name=name,
        type=type,
        path=str(path.absolute()) if path else None,
        url=url,
        read_only=read_only,
        description=description,
    )
    made = load_datastore(file, given) if file else parse_datastore(given, "datastore", Path.cwd())
    with store.api() as client:
        stored = datastores.create_datastore(client, made)
        data = views.of_datastore(stored, stored.name == datastores.default_name(client))
    terminal.result(stored.name, data)


def _keys(assignments: Iterable[str]) -> dict[str, Any]:
    """`--set` as keys; of credentials, the value is the text itself, and no error repeats it."""
    secret = [text for text in assignments if text.startswith("credentials")]
    keys = overrides.document(text for text in assignments if text not in secret)
    credentials = overrides.secrets(secret, "credentials.")
    return keys | ({"credentials": credentials} if credentials else {})


@app.command(name="list")
def datastore_list() -> None:
    """List datastores.

    Example: prefect-batch datastore list
    """
    with store.api() as client:
        default = datastores.default_name(client)
        if default == datastores.DEFAULT:
            datastores.default_datastore(client)  # whoever asks first makes it
        found = datastores.list_datastores(client)
    rows = [(d.name, d.type, d.url, _yes(d.read_only), _yes(d.name == default)) for d in found]
    terminal.table(
        ("NAME", "TYPE", "URL", "READ_ONLY", "DEFAULT"), rows, [views.of_datastore(d, d.name == default) for d in found]
    )


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


@app.command(name="show")
def datastore_show(name: Name) -> None:
    """Show a datastore; of its credentials only which are set. What its `id` and `/paths/PATH` make is a job's --input.

    Example: prefect-batch datastore show default
    """
    with store.api() as client:
        found = datastores.find_datastore(client, name)
        default = datastores.default_name(client)
    terminal.document(views.of_datastore(found, found.name == default))


@app.command(name="set-default")
def datastore_set_default(name: Name) -> None:
    """Make a datastore the one that takes jobs' files, outputs without a path, and uploads.

    Jobs that have started, and outputs that are there, stay where they are.

    Example: prefect-batch datastore set-default sales
    """
    with store.api() as client:
        datastores.set_default(client, name)
    terminal.result(name.lower())


@app.command(name="delete")
def datastore_delete(name: Name, *, yes: Yes = False) -> None:
    """Delete a datastore's record and its credentials; what is stored there stays.

    Example: prefect-batch datastore delete sales --yes
    """
    confirm(f"Delete datastore {name}?", yes)
    with store.api() as client:
        datastores.delete_datastore(client, name)
