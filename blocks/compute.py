"""The compute cluster of a deployment: what becomes a Dask cluster for the length of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ..scoring.errors import AlreadyExists, InvalidDocument, NotFound
from . import store
from .documents import validate
from .names import Name

LOCAL = "local"
DASK_CONFIG: dict[str, Any] = {
    # One running and none waiting on each thread: a dying worker then blames nobody but the tasks that it was running.
    "distributed.scheduler.worker-saturation": 1.0,
    # It looks at every thread each 10 ms, and what is worth knowing happens in the scoring processes.
    "distributed.worker.profile.enabled": False,
}


class Capacity(Protocol):
    """What settings say of how much of a cluster a job takes."""

    @property
    def instance_count(self) -> int: ...

    @property
    def max_concurrency_per_instance(self) -> int: ...


def _kind(value: Any) -> Any:
    # Azure ML's own cluster type: here it is processes on this machine until the block says otherwise.
    return LOCAL if value == "amlcompute" else value


def _tier(value: Any) -> Any:
    # As Azure ML's Python SDK spells them.
    return {"Dedicated": "dedicated", "LowPriority": "low_priority"}.get(str(value), value)


class Chaos(BaseModel):
    """Nodes that are taken away on a schedule, as a cloud takes back what it sells cheaply. For tests."""

    model_config = ConfigDict(extra="forbid")

    interval: float = Field(gt=0, description="Seconds from one loss to the next.")
    nodes: int = Field(default=1, ge=1, description="Nodes that are lost each time, all at once.")
    away: float = Field(default=0, ge=0, description="Seconds until a lost node is replaced.")
    seed: int = Field(default=0, description="Of the choice of nodes.")


class ComputeCluster(Block):
    """Where a deployment's jobs run: what becomes a Dask cluster for the length of a job."""

    _block_type_name = "Compute Cluster"
    _block_type_slug = "compute-cluster"

    name: Name
    type: Annotated[Literal["local", "address"], BeforeValidator(_kind)] = "local"
    description: str | None = None
    address: str | None = Field(default=None, description="Of a running Dask scheduler: tcp://host:8786.")
    size: str | None = Field(default=None, description="Machine size.")
    min_instances: int = Field(default=0, ge=0, description="Instances that are kept once they are there.")
    max_instances: int = Field(default=4, ge=1, description="Instances of all jobs together; further jobs wait.")
    idle_time_before_scale_down: int = Field(
        default=120, ge=0, description="Seconds that instances are kept after a job, for the next one."
    )
    tier: Annotated[Literal["dedicated", "low_priority"], BeforeValidator(_tier)] = "dedicated"
    gpus_per_instance: int = Field(default=0, ge=0)
    price_per_instance_hour: float | None = Field(default=None, ge=0)
    currency: str = "USD"
    cluster_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments of the Dask cluster class, over those of the type."
    )
    chaos: Chaos | None = None

    @model_validator(mode="after")
    def _address_when_needed(self) -> ComputeCluster:
        if (self.type == "address") != (self.address is not None):
            raise ValueError("address goes with type: address, and only with it")
        if self.min_instances > self.max_instances:
            raise ValueError(f"min_instances: {self.min_instances} is more than max_instances: {self.max_instances}")
        return self

    def check(self, settings: Capacity) -> None:
        """Refuse a job that the cluster can never hold. Raises InvalidDocument."""
        if self.type == LOCAL and settings.instance_count > self.max_instances:
            raise InvalidDocument(
                f"instance_count: {settings.instance_count} is more than compute {self.name!r} has "
                f"(max_instances: {self.max_instances})"
            )

    def runner_arguments(self, settings: Capacity, threads: int = 1) -> dict[str, Any]:
        """Arguments of DaskTaskRunner for a job with these settings.

        On a local cluster an instance is one Dask worker, with `threads` threads for each of its scoring processes
        or steps.
        """
        if self.type == "address":
            return {"address": self.address}
        return {
            "cluster_class": "distributed.LocalCluster",
            "cluster_kwargs": {
                "n_workers": settings.instance_count,
                "threads_per_worker": settings.max_concurrency_per_instance * threads,
                "processes": True,
                "dashboard_address": ":0",
                "memory_limit": 0,
            },
        }


def builtin_local() -> ComputeCluster:
    """The compute named `local`, there without being made: this machine, without a bound on instances."""
    return ComputeCluster(name=LOCAL, max_instances=1_000_000)


def parse_compute(data: Mapping[str, Any], where: str) -> ComputeCluster:
    """A compute as its user wrote it, with Azure ML's keys. Raises InvalidDocument, which begins with `where`."""
    return validate(ComputeCluster, data, where, set(ComputeCluster.model_fields))


def find_compute(client: SyncPrefectClient, name: str) -> ComputeCluster:
    """The compute cluster of that name; `local` is there without being made. Raises NotFound."""
    try:
        return store.load(ComputeCluster, name, client)
    except NotFound:
        if name == LOCAL:
            return builtin_local()
        raise NotFound(
            f"compute {name!r} does not exist: make it with `prefect-batch compute create {name}`, "
            "or write compute: local"
        ) from None


def list_computes(client: SyncPrefectClient) -> list[ComputeCluster]:
    """All compute clusters, by name; `local` is always there, and first where nobody has made one."""
    found = store.list_all(ComputeCluster, client)
    return found if any(cluster.name == LOCAL for cluster in found) else [builtin_local(), *found]


def save_compute(client: SyncPrefectClient, cluster: ComputeCluster) -> ComputeCluster:
    """Make a compute cluster, or set the keys of an existing one that are given. Raises InvalidDocument."""
    try:
        store.create(cluster, cluster.name, client)
        return cluster
    except AlreadyExists:
        given = store.dump(cluster, cluster.model_fields_set)
        held = store.load(ComputeCluster, cluster.name, client)
        changed = validate(ComputeCluster, store.dump(held) | given, f"compute {cluster.name!r}")
        store.patch(ComputeCluster, cluster.name, given, client)
        return changed
