"""`prefect-batch compute`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from ..blocks import store
from ..blocks.compute import ComputeCluster, find_compute, list_computes, parse_compute
from ..blocks.documents import load_yaml, merged
from ..scoring.errors import InvalidDocument
from . import overrides, terminal, views
from .cli_options import Name, OptionalFile, OptionalName, SetKeys, Yes, confirm

app = App(name="compute")

MinInstances = Annotated[int | None, Parameter(help="Recorded only.")]
MaxInstances = Annotated[int | None, Parameter(help="Instances that one job gets at most.")]
IdleTime = Annotated[int | None, Parameter(help="Seconds; recorded only.")]


@app.command(name="create")
def compute_create(
    name: OptionalName = None,
    *,
    file: OptionalFile = None,
    type: Annotated[str | None, Parameter(name=["--type", "-t"], help="local (or amlcompute) or address.")] = None,
    address: Annotated[str | None, Parameter(help="Of a running Dask scheduler, for --type address.")] = None,
    size: Annotated[str | None, Parameter(help="Recorded only.")] = None,
    tier: Annotated[str | None, Parameter(help="dedicated or low_priority; recorded only.")] = None,
    min_instances: MinInstances = None,
    max_instances: MaxInstances = None,
    idle_time_before_scale_down: IdleTime = None,
    description: str | None = None,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Make a compute cluster: processes on the worker's machine, or a running Dask scheduler.

    Example: prefect-batch compute create cluster --type address --address tcp://10.0.0.4:8786
    """
    given = overrides.document(
        set,
        name=name,
        type=type,
        address=address,
        size=size,
        tier=tier,
        min_instances=min_instances,
        max_instances=max_instances,
        idle_time_before_scale_down=idle_time_before_scale_down,
        description=description,
    )
    cluster = parse_compute(merged(load_yaml(file) if file else {}, given), str(file or "compute"))
    with store.api() as client:
        store.create(cluster, cluster.name, client)
    terminal.result(cluster.name, views.of_compute(cluster))


@app.command(name="update")
def compute_update(
    name: Name,
    *,
    min_instances: MinInstances = None,
    max_instances: MaxInstances = None,
    idle_time_before_scale_down: IdleTime = None,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Change a compute cluster; jobs that run keep what they have.

    Example: prefect-batch compute update cluster --max-instances 8
    """
    changes = overrides.document(
        set,
        min_instances=min_instances,
        max_instances=max_instances,
        idle_time_before_scale_down=idle_time_before_scale_down,
    )
    if not changes or "name" in changes:
        raise InvalidDocument(
            "name cannot be changed" if changes else "nothing to change: give --max-instances or --set"
        )
    with store.api() as client:
        held = store.load(ComputeCluster, name.lower(), client)
        changed = parse_compute(merged(views.keys_of(held), changes), "--set")
        store.patch(ComputeCluster, held.name, store.dump(changed, {*changes}), client)
    terminal.result(changed.name, views.of_compute(changed))


@app.command(name="list")
def compute_list() -> None:
    """List compute clusters; `local` is always there.

    Example: prefect-batch compute list
    """
    with store.api() as client:
        found = list_computes(client)
    rows = [(c.name, c.type, c.address) for c in found]
    terminal.table(("NAME", "TYPE", "ADDRESS"), rows, [views.of_compute(c) for c in found])


@app.command(name="show")
def compute_show(name: Name) -> None:
    """Show a compute cluster.

    Example: prefect-batch compute show local
    """
    with store.api() as client:
        terminal.document(views.of_compute(find_compute(client, name.lower())))


@app.command(name="delete")
def compute_delete(name: Name, *, yes: Yes = False) -> None:
    """Delete a compute cluster's record; what runs on it goes on.

    Example: prefect-batch compute delete cluster --yes
    """
    confirm(f"Delete compute {name}?", yes)
    with store.api() as client:
        store.delete(ComputeCluster, name.lower(), client)
