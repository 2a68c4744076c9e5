"""A Dask cluster on hosts by ssh that knows which node is which.

Dask's own SSHCluster does not name its workers, and so neither sees that one is lost nor replaces it, and has none to
grow by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from distributed import SpecCluster
from distributed.deploy.ssh import Scheduler, Worker


class HostsCluster(SpecCluster):
    """The nodes are the hosts of these numbers; their workers are named by them.

    Args:
        hosts: names or addresses of all hosts.
        numbers: of the hosts to begin with; the first of them runs the scheduler. Others are taken to grow.
        connect_options: of asyncssh.connect: username, port, client_keys, known_hosts.
        remote_python: the command of the Python on the hosts.
        worker_options: of the Dask worker of each host.
        scheduler_options: of the Dask scheduler.
        arguments: as of SpecCluster.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        numbers: Sequence[int],
        connect_options: Mapping[str, Any],
        remote_python: str,
        worker_options: Mapping[str, Any],
        scheduler_options: Mapping[str, Any],
        **arguments: Any,
    ) -> None:
        common = {"connect_options": connect_options, "remote_python": remote_python}
        self._nodes: dict[int, dict[str, Any]] = {
            number: {
                "cls": Worker,
                "options": {**common, "address": host, "kwargs": {**worker_options, "name": number}},
            }
            for number, host in enumerate(hosts)
        }
        scheduler = {
            "cls": Scheduler,
            "options": {**common, "address": hosts[numbers[0]], "kwargs": dict(scheduler_options)},
        }
        super().__init__({number: self._nodes[number] for number in numbers}, scheduler, **arguments)  # pyright: ignore[reportUnknownMemberType]

    def new_worker_spec(self) -> dict[Any, Any]:
        held = cast(dict[int, Any], self.worker_spec)  # pyright: ignore[reportUnknownMemberType]
        free = next((number for number in self._nodes if number not in held), None)
        if free is None:
            raise ValueError(f"all {len(self._nodes)} hosts are nodes already")
        return {free: self._nodes[free]}
