"""The compute cluster of a deployment: what becomes a Dask cluster for the length of a job."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Protocol, cast

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ..scoring.errors import AlreadyExists, InvalidDocument, NotFound
from . import store
from .cluster_kind import Kind, Shape
from .documents import validate
from .names import Name

LOCAL, ADDRESS = "local", "address"
MAX_INSTANCES = 4
"""As Azure ML has it."""

_KINDS = {
    LOCAL: "local_kind.LocalKind",
    ADDRESS: "address_kind.AddressKind",
    "ssh": "ssh_kind.SshKind",
    "kubernetes": "kubernetes_kind.KubernetesKind",
    **dict.fromkeys(("slurm", "pbs", "sge", "lsf", "oar", "moab", "htcondor"), "jobqueue_kind.JobqueueKind"),
    "cloud": "cloud_kind.CloudKind",
    "dask": "dask_kind.DaskKind",
}
KINDS = tuple(_KINDS)
"""What `type` may be."""
_KEY_OF = {"address": ADDRESS, "hosts": "ssh", "provider": "cloud", "cluster_class": "dask"}
"""Keys that one kind needs and no other takes."""
NO_EFFECT = {
    "enable_node_public_ip",
    "identity",
    "location",
    "network_settings",
    "ssh_public_access_enabled",
    "ssh_settings",
}
"""Keys of Azure ML's compute clusters that documents may have."""
_SECRETS = {
    "api_key",
    "api_token",
    "client_secret",
    "docker_password",
    "passphrase",
    "password",
    "secret_access_key",
    "secret_key",
    "service_account_credentials",
    "token",
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


def _most(data: dict[str, Any]) -> int | None:
    match data.get("type"):
        case "address":
            return None
        case "ssh":
            return len(data.get("hosts") or ()) or None
        case _:
            return MAX_INSTANCES


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
    type: Annotated[
        Literal[
            "local",
            "address",
            "ssh",
            "kubernetes",
            "slurm",
            "pbs",
            "sge",
            "lsf",
            "oar",
            "moab",
            "htcondor",
            "cloud",
            "dask",
        ],
        BeforeValidator(_kind),
    ] = "local"
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    address: str | None = Field(default=None, description="Of a running Dask scheduler: tcp://host:8786.")
    hosts: list[str] = Field(default_factory=list, description="Machines to reach by ssh, each one instance.")
    provider: str | None = Field(default=None, description="Of the cloud: aws, azure, gcp, digitalocean or hetzner.")
    cluster_class: str | None = Field(default=None, description="Import path of a Dask cluster class.")
    size: str | None = Field(default=None, description="Machine type, for type cloud; elsewhere of no effect.")
    min_instances: int = Field(default=0, ge=0, description="Instances that are kept once they are there.")
    max_instances: Annotated[int, Field(ge=1)] | None = Field(
        default_factory=_most,
        description="Instances of all jobs together; further jobs wait. Without a bound where this is null, as it is "
        "by default for a running scheduler.",
    )
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
    def _check_kind(self) -> ComputeCluster:
        for key, kind in _KEY_OF.items():
            if (self.type == kind) != bool(getattr(self, key)):
                raise ValueError(f"{key} goes with type: {kind}, and only with it")
        if self.max_instances is not None and self.min_instances > self.max_instances:
            raise ValueError(f"min_instances: {self.min_instances} is more than max_instances: {self.max_instances}")
        if secret := next(_secrets(self.cluster_kwargs, "cluster_kwargs"), None):
            raise ValueError(
                f"{secret}: whoever reads the compute would read it; give it to the Prefect worker, in an environment "
                "variable or a file that the cluster class knows"
            )
        self.kind().check()
        return self

    @property
    def capacity(self) -> int | None:
        """Instances of all jobs together; None: without a bound."""
        return self.max_instances

    @property
    def is_preemptible(self) -> bool:
        """Whether instances may be taken away."""
        return self.tier == "low_priority" or self.chaos is not None

    @property
    def keeps(self) -> bool:
        """Whether a job's instances are kept for the next one."""
        return (self.min_instances > 0 or self.idle_time_before_scale_down > 0) and self.kind().keepable

    def kind(self) -> Kind:
        """What its type says and does."""
        module, _, name = _KINDS[self.type].partition(".")
        return getattr(importlib.import_module(f".{module}", __package__), name)(self)

    def shape(self, settings: Capacity, threads: int = 1, image: str | None = None) -> Shape:
        """What a job with these settings needs.

        Args:
            settings: of the job.
            threads: Dask threads for each of its scoring processes or steps.
            image: that its nodes are to run, where the kind runs containers.
        """
        kind = self.kind()
        return Shape(
            instances=settings.instance_count,
            processes=settings.max_concurrency_per_instance,
            threads=threads,
            gpus=self.gpus_per_instance,
            image=image if kind.runs_containers else None,
            machine=platform.node() if kind.on_this_machine else None,
        )

    def check(self, settings: Capacity) -> None:
        """Refuse a job that the cluster can never hold. Raises InvalidDocument."""
        if self.capacity is not None and settings.instance_count > self.capacity:
            raise InvalidDocument(
                f"instance_count: {settings.instance_count} is more than compute {self.name!r} has "
                f"(max_instances: {self.capacity})"
            )


def _secrets(value: Any, where: str) -> Iterator[str]:
    """Keys, at any depth, that stand for a secret."""
    if isinstance(value, dict):
        for key, inner in cast(dict[str, Any], value).items():
            # AWS_SECRET_ACCESS_KEY among a pod's variables, too.
            if str(key).lower().endswith(tuple(_SECRETS)) and inner and not isinstance(inner, bool):
                yield f"{where}.{key}"
            yield from _secrets(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in cast(list[Any], value):
            yield from _secrets(inner, where)


def builtin_local() -> ComputeCluster:
    """The compute named `local`, there without being made: this machine, without a bound and without keeping."""
    return ComputeCluster(name=LOCAL, max_instances=None, idle_time_before_scale_down=0)


def parse_compute(data: Mapping[str, Any], where: str) -> ComputeCluster:
    """A compute as its user wrote it, with Azure ML's keys. Raises InvalidDocument, which begins with `where`."""
    kept = {key: value for key, value in data.items() if key not in NO_EFFECT}
    return validate(ComputeCluster, kept, where, set(ComputeCluster.model_fields))


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
