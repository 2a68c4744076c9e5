"""`prefect-batch compute`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from ..blocks import store
from ..blocks.compute import ComputeCluster, builtin_local, find_compute
from ..blocks.documents import load_yaml, validate
from . import terminal
from .cli_options import Name, OptionalFile, OptionalName, Yes, confirm

app = App(name="compute")


@app.command(name="create")
def compute_create(
    name: OptionalName = None,
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
    cluster = validate(ComputeCluster, data, str(file or "compute"), set(ComputeCluster.model_fields))
    with store.api() as client:
        store.create(cluster, cluster.name, client)
    terminal.result(cluster.name)


@app.command(name="list")
def compute_list() -> None:
    """List compute clusters; `local` is always there.

    Example: prefect-batch compute list
    """
    with store.api() as client:
        found = store.list_all(ComputeCluster, client)
    found = found if any(c.name == "local" for c in found) else [builtin_local(), *found]
    terminal.table(("NAME", "TYPE", "ADDRESS"), [(c.name, c.type, c.address) for c in found])


@app.command(name="show")
def compute_show(name: Name) -> None:
    """Show a compute cluster.

    Example: prefect-batch compute show local
    """
    with store.api() as client:
        terminal.out.print_json(find_compute(client, name.lower()).model_dump_json(exclude={"block_type_slug"}))


@app.command(name="delete")
def compute_delete(name: Name, *, yes: Yes = False) -> None:
    """Delete a compute cluster's record; what runs on it goes on.

    Example: prefect-batch compute delete cluster --yes
    """
    confirm(f"Delete compute {name}?", yes)
    with store.api() as client:
        store.delete(ComputeCluster, name.lower(), client)
