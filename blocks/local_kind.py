"""Processes on the machine of the Prefect worker."""

from __future__ import annotations

from typing import Any

from .cluster_kind import Kind, Shape


class LocalKind(Kind):
    """A node is one Dask worker process."""

    on_this_machine = True

    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        return "distributed.LocalCluster", self.over(
            {
                "n_workers": shape.instances,
                "threads_per_worker": shape.node_threads,
                "processes": True,
                "dashboard_address": ":0",
                "memory_limit": 0,
            }
        )
