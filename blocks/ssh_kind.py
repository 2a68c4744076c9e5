"""Machines that are there already, reached by ssh."""

from __future__ import annotations

import sys
from typing import Any

from ..scoring.errors import InvalidDocument
from .cluster_kind import Kind, Shape


class SshKind(Kind):
    """A node is a host of the list that no other job has; the first host that answers runs the scheduler too."""

    extra = "ssh"
    modules = ("asyncssh",)

    def check(self) -> None:
        hosts, most = len(self.compute.hosts), self.compute.max_instances
        if most is None or most > hosts:
            raise ValueError(
                f"max_instances: must not be more than there are hosts ({hosts}); a host that is to hold two instances "
                "is named twice"
            )

    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        if shape.instances > len(self.compute.hosts):
            raise InvalidDocument(
                f"instance_count: {shape.instances} is more than compute {self.compute.name!r} has hosts "
                f"({len(self.compute.hosts)})"
            )
        return "prefect_batch.blocks.ssh_cluster.HostsCluster", self.over(
            {
                "hosts": self.compute.hosts,
                "n_workers": shape.instances,
                "lock_name": self.compute.name,
                "connect_options": {"connect_timeout": 20, "keepalive_interval": 10},
                "remote_python": sys.executable,
                "worker_options": {"nthreads": shape.node_threads, "memory_limit": 0},
                "scheduler_options": {"port": 0, "dashboard_address": ":0"},
            }
        )
