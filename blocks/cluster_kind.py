"""What a kind of compute cluster must say of itself; each kind is a small file that says only what differs.

Rendering is pure: what would be started can be shown and tested without starting it. Starting is flows/provision.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .compute import ComputeCluster


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

    @property
    def node_threads(self) -> int:
        """Dask threads of one node."""
        return self.processes * self.threads

    @property
    def node_label(self) -> str:
        """The same for nodes that can serve each other's jobs, however many there are."""
        return f"{self.node_threads}t-{self.gpus}g-{self.image or ''}"


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

    def check(self) -> None:  # noqa: B027
        """Refuse a record that can never work. Raises ValueError."""

    @abstractmethod
    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        """The import path of the Dask cluster class and its keyword arguments, for a cluster of that shape."""

    @abstractmethod
    def render(self, shape: Shape) -> str:
        """What would be started, as text for a person to read or to apply: a manifest, a job script, arguments."""
