"""`prefect-batch compute`."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from ..blocks import ledger, store
from ..blocks.cluster_kind import Shape
from ..blocks.compute import KINDS, NO_EFFECT, ComputeCluster, find_compute, list_computes, parse_compute
from ..blocks.documents import load_yaml, merged
from ..scoring.errors import InvalidDocument
from . import overrides, terminal, views
from .cli_options import Name, OptionalFile, OptionalName, SetKeys, Yes, confirm

app = App(name="compute")

MinInstances = Annotated[int | None, Parameter(help="Instances that are kept once they are there.")]
MaxInstances = Annotated[int | None, Parameter(help="Instances of all jobs together; further jobs wait.")]
IdleTime = Annotated[
    int | None, Parameter(help="Seconds that instances are kept after a job, for the next one; 120 by default.")
]
Price = Annotated[float | None, Parameter(help="What an instance costs an hour, for `job cost`.")]


@app.command(name="create")
def compute_create(
    name: OptionalName = None,
    *,
    file: OptionalFile = None,
    type: Annotated[
        str | None, Parameter(name=["--type", "-t"], help=f"amlcompute (which is local), {', '.join(KINDS)}.")
    ] = None,
    address: Annotated[str | None, Parameter(help="Of a running Dask scheduler, for --type address.")] = None,
    host: Annotated[
        list[str], Parameter(help="To reach by ssh, for --type ssh. May be given several times.", negative=())
    ] = [],  # noqa: B006
    provider: Annotated[str | None, Parameter(help="Of the machines, for --type cloud.")] = None,
    cluster_class: Annotated[
        str | None, Parameter(help="Import path of a Dask cluster class, for --type dask.")
    ] = None,
    size: Annotated[str | None, Parameter(help="Machine type, for --type cloud.")] = None,
    tier: Annotated[
        str | None, Parameter(help="dedicated, or low_priority for instances that may be taken away.")
    ] = None,
    min_instances: MinInstances = None,
    max_instances: MaxInstances = None,
    idle_time_before_scale_down: IdleTime = None,
    gpus_per_instance: Annotated[int | None, Parameter(help="Scoring process k of an instance gets GPU k.")] = None,
    price_per_instance_hour: Price = None,
    description: str | None = None,
    set: SetKeys = [],  # noqa: B006
) -> None:
    """Make a compute cluster; nothing is started before a job needs it.

    Example: prefect-batch compute create cluster --max-instances 2
    """
    given = overrides.document(
        set,
        name=name,
        type=type,
        address=address,
        hosts=host or None,
        provider=provider,
        cluster_class=cluster_class,
        size=size,
        tier=tier,
        min_instances=min_instances,
        max_instances=max_instances,
        idle_time_before_scale_down=idle_time_before_scale_down,
        gpus_per_instance=gpus_per_instance,
        price_per_instance_hour=price_per_instance_hour,
        description=description,
    )
    document = merged(load_yaml(file) if file else {}, given)
    cluster = parse_compute(document, str(file or "compute"))
    with store.api() as client:
        store.create(cluster, cluster.name, client)
    terminal.result(cluster.name, views.of_compute(cluster))
    ignored = sorted(NO_EFFECT & document.keys()) + (["size"] if cluster.size and cluster.type != "cloud" else [])
    if ignored:
        what = f"{', '.join(ignored)} {'is' if len(ignored) == 1 else 'are'}"
        terminal.note(f"Note: {what} of no effect on a compute of type {cluster.type}.")


@app.command(name="update")
def compute_update(
    name: Name,
    *,
    min_instances: MinInstances = None,
    max_instances: MaxInstances = None,
    idle_time_before_scale_down: IdleTime = None,
    price_per_instance_hour: Price = None,
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
        price_per_instance_hour=price_per_instance_hour,
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
    rows = [(c.name, c.type, c.max_instances, c.address) for c in found]
    terminal.table(("NAME", "TYPE", "MAX INSTANCES", "ADDRESS"), rows, [views.of_compute(c) for c in found])


@app.command(name="show")
def compute_show(name: Name) -> None:
    """Show a compute cluster, with the jobs that have instances of it or wait for them, and the instances kept.

    Example: prefect-batch compute show local
    """
    with store.api() as client:
        cluster = find_compute(client, name.lower())
        held = ledger.read(client, cluster.name) if cluster.capacity is not None else None
    terminal.document(views.of_compute(cluster, held))


@app.command(name="render")
def compute_render(
    name: OptionalName = None,
    *,
    file: OptionalFile = None,
    instances: Annotated[int, Parameter(help="Of the job.", validator=Number(gte=1))] = 1,
    processes: Annotated[
        int, Parameter(help="Scoring processes on each, max_concurrency_per_instance.", validator=Number(gte=1))
    ] = 1,
    image: Annotated[str | None, Parameter(help="That the job's environment names.")] = None,
) -> None:
    """Print what would be started for a job: a Kubernetes manifest, a job script, arguments. Starts nothing.

    Example: prefect-batch compute render local --instances 2
    """
    if (name is None) == (file is None):
        raise InvalidDocument("name a compute, or give --file")
    cluster: ComputeCluster
    if file is not None:
        cluster = parse_compute(load_yaml(file), str(file))
    else:
        with store.api() as client:
            cluster = find_compute(client, str(name).lower())
    shape = Shape(instances=instances, processes=processes, gpus=cluster.gpus_per_instance, image=image)
    terminal.result(cluster.kind().render(shape).rstrip())


@app.command(name="stop")
def compute_stop(name: Name) -> None:
    """End the instances of a compute cluster that are kept for a next job; those of running jobs stay.

    Example: prefect-batch compute stop cluster
    """
    from ..flows.provision import stop_kept

    with store.api() as client:
        number = stop_kept(client, find_compute(client, name.lower()).name)
    what: dict[str, Any] = {"stopped": number}
    terminal.result(f"{number} idle cluster{'' if number == 1 else 's'} told to end", what)


@app.command(name="delete")
def compute_delete(name: Name, *, yes: Yes = False) -> None:
    """Delete a compute cluster's record; jobs that run on it go on, and what is kept of it ends.

    Example: prefect-batch compute delete cluster --yes
    """
    confirm(f"Delete compute {name}?", yes)
    with store.api() as client:
        store.delete(ComputeCluster, name.lower(), client)
