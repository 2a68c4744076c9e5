"""Processes on the machine of the Prefect worker: an instance is a Dask worker with its scoring processes."""

from __future__ import annotations

import json
from typing import Any

from .cluster_kind import Kind, Shape


class LocalKind(Kind):
    """`type: local`, and Azure ML's `amlcompute`."""

    on_this_machine = True

    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        return "distributed.LocalCluster", {
            "n_workers": shape.instances,
            "threads_per_worker": shape.node_threads,
            "processes": True,
            "dashboard_address": ":0",
            "memory_limit": 0,
            **self.compute.cluster_kwargs,
        }

    def render(self, shape: Shape) -> str:
        name, arguments = self.cluster(shape)
        return f"{name}(**{json.dumps(arguments, indent=2, default=str)})\n"
