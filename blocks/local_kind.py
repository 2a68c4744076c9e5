"""Processes on the machine of the Prefect worker."""

from __future__ import annotations

import os
from typing import Any

from .cluster_kind import Kind, Shape

FORK_SERVER = "PREFECT_BATCH_FLOW_FORK_SERVER"
"""Variable with the socket of the fork server on this machine that has imported what flows need."""

LOOPBACK = "127.0.0.1"
"""Who reaches a Dask worker may run code in it: nobody from elsewhere."""


class LocalKind(Kind):
    """A node is one Dask worker process; for a single task, one in the process of the job."""

    on_this_machine = True

    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        arguments = {
            "n_workers": shape.instances,
            "threads_per_worker": shape.node_threads,
            "processes": True,
            "host": LOOPBACK,
            "dashboard_address": f"{LOOPBACK}:0",
            "worker_dashboard_address": f"{LOOPBACK}:0",
            "memory_limit": 0,
        }
        if self.compute.chaos is None and not self.compute.keeps:
            if shape.alone:
                arguments |= {"processes": False, "host": None}
            elif os.environ.get(FORK_SERVER):
                arguments["worker_class"] = f"{__package__}.forked_node.ForkedNode"
        return "distributed.LocalCluster", self.over(arguments)
