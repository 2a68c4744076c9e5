"""Machines that are there already, reached by ssh."""

from __future__ import annotations

import sys
from typing import Any

from ..scoring.errors import InvalidDocument
from .cluster_kind import Kind, Shape

_ENDS_WITH_US = "-P -m prefect_batch.scoring.tether"
"""What runs on the hosts ends with the connection, also when the process here is killed."""


class SshKind(Kind):
    """A node is a host of the list; the first host of a cluster runs its scheduler too."""

    extra = "ssh"
    modules = ("asyncssh",)

    def check(self) -> None:
        hosts, most = len(self.compute.hosts), self.compute.max_instances
        if most is None or most > hosts:
            raise ValueError(
                f"max_instances: must not be more than there are hosts ({hosts}); name a host twice to "
                "have two nodes on it"
            )

    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        if shape.instances > len(self.compute.hosts):
            raise InvalidDocument(
                f"instance_count: {shape.instances} is more than compute {self.compute.name!r} has hosts "
                f"({len(self.compute.hosts)})"
            )
        arguments = self.over(
            {
                "hosts": self.compute.hosts,
                "numbers": shape.numbers,
                "connect_options": {},
                "remote_python": sys.executable,
                "worker_options": {"nthreads": shape.node_threads, "memory_limit": 0},
                "scheduler_options": {"port": 0, "dashboard_address": ":0"},
            }
        )
        arguments["remote_python"] = f"{arguments['remote_python']} {_ENDS_WITH_US}"
        return "prefect_batch.blocks.ssh_cluster.HostsCluster", arguments
