"""What a kind of compute cluster must say of itself; each kind is a small file that says only what differs.

Rendering is pure: what would be started can be shown and tested without starting it. Starting is flows/provision.py.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import yaml

from ..scoring.errors import InvalidDocument

if TYPE_CHECKING:
    from .compute import ComputeCluster

DASK_CONFIG: dict[str, Any] = {
    # One running and none waiting on each thread: a dying worker then blames nobody but the tasks that it was running.
    "distributed.scheduler.worker-saturation": 1.0,
    # It looks at every thread each 10 ms, and what is worth knowing happens in the scoring processes.
    "distributed.worker.profile.enabled": False,
}
PREEMPTIONS = 1000
"""How many losses of a node a shard survives where nodes may be taken away: whoever was on it is not to blame."""
ALLOWED_FAILURES = "distributed.scheduler.allowed-failures"
"""Dask's setting of how many losses of its worker a task survives."""
_IDLE_SECONDS = 3600


@dataclass(frozen=True)
class Shape:
    """What a job needs of a cluster."""

    instances: int
    """Nodes."""
    processes: int = 1
    """Scoring processes, or steps, at a time on each node."""
    threads: int = 1
    """Dask threads for each of them."""
    gpus: int = 0
    """On each node."""
    image: str | None = None
    """That the nodes are to run, where the kind runs containers."""
    machine: str | None = None
    """That the nodes are on, where it must be that of the Prefect worker."""
    alone: bool = False
    """Whether there is but one task to run: a node on this machine is then no process of its own, which takes longer to
    start than many a task; what scores is one in any case."""

    @property
    def node_threads(self) -> int:
        """Dask threads of one node."""
        return self.processes * self.threads

    @property
    def node_label(self) -> str:
        """The same for nodes that can serve each other's jobs, however many there are."""
        return f"{self.node_threads}t-{self.gpus}g-{self.image or ''}-{self.machine or ''}"


class Kind(ABC):
    """One kind of compute cluster.

    Args:
        compute: its record.
    """

    extra: ClassVar[str | None] = None
    """The extra of prefect-batch that brings what this kind needs."""
    modules: ClassVar[tuple[str, ...]] = ()
    """What must be importable; looked at before a cluster is made."""
    runs_containers: ClassVar[bool] = False
    """Whether nodes run an image that a job names."""
    on_this_machine: ClassVar[bool] = False
    """Whether all nodes are on the machine of the Prefect worker."""
    provisions: ClassVar[bool] = True
    """Whether nodes are started for a job; else they are there already."""

    def __init__(self, compute: ComputeCluster) -> None:
        self.compute = compute

    @property
    def keepable(self) -> bool:
        """Whether other processes can connect to its clusters by their address alone."""
        return self.provisions and not self.compute.cluster_kwargs.get("security")

    def check(self) -> None:  # noqa: B027
        """Refuse a record that can never work. Raises ValueError."""

    def require(self) -> None:
        """Raises InvalidDocument where a package is missing."""
        missing = [name for name in self.modules if _is_missing(name)]
        if missing:
            raise InvalidDocument(
                f"compute {self.compute.name!r} of type {self.compute.type} needs a package that is not installed "
                f"here ({', '.join(missing)}): pip install 'prefect-batch[{self.extra}]'"
            )

    @abstractmethod
    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        """The import path of the Dask cluster class and its keyword arguments, for a cluster of that shape.

        Raises InvalidDocument for a shape that the record does not allow.
        """

    def render(self, shape: Shape) -> str:
        """What would be started, as text for a person to read or to apply: a manifest, a job script, arguments.

        Raises InvalidDocument for a shape that the record does not allow, and where a package is missing.
        """
        path, arguments = self.cluster(shape)
        return as_yaml({"cluster_class": path, "cluster_kwargs": arguments})

    @property
    def idle_seconds(self) -> int:
        """How long a cluster elsewhere may have nothing to do until it ends by itself: whoever started it was killed.

        0 for one that is kept however long.
        """
        return 0 if self.compute.min_instances else self.compute.idle_time_before_scale_down + _IDLE_SECONDS

    def dask_environment(self) -> dict[str, str]:
        """The configuration of Dask that schedulers and nodes elsewhere need, as environment variables."""
        import dask.config

        failures = dask.config.get(ALLOWED_FAILURES, 3)  # pyright: ignore[reportUnknownMemberType]
        held = DASK_CONFIG | {ALLOWED_FAILURES: PREEMPTIONS if self.compute.is_preemptible else failures}
        return {f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": str(value) for key, value in held.items()}

    def over(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """The record's cluster_kwargs over what the kind says; mappings are merged, all else is replaced."""
        return merged(defaults, self.compute.cluster_kwargs)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two mappings in one, at all depths; where both say something, `above` does."""
    both = dict(below)
    for key, value in above.items():
        held = both.get(key)
        both[key] = merged(held, value) if isinstance(held, dict) and isinstance(value, dict) else value  # pyright: ignore[reportUnknownArgumentType]
    return both


def as_yaml(value: Any) -> str:
    """As people read it, its keys in the order that they were given."""
    return yaml.safe_dump(value, sort_keys=False, width=120)


def _is_missing(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is None
    except ImportError:
        return True
