"""A Dask cluster on hosts by ssh, each of which is a node of one job at a time.

Dask's own SSHCluster does not name its workers, and so neither sees that one is lost nor replaces it, has none to grow
by, and ends when a host is down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from distributed import SpecCluster
from distributed.deploy.spec import ProcessInterface
from distributed.deploy.ssh import Scheduler, Worker

_TETHER = "-P -m prefect_batch.scoring.tether"
"""What runs on the hosts ends with the connection, also when the process here is killed."""

RETRY_SECONDS = 5.0
"""Until all hosts are tried again, when none of them could be a node."""

logger = logging.getLogger(__name__)


class HostsCluster(SpecCluster):
    """Nodes are on hosts that no other cluster of the same name has a node on; each host is a node once.

    Args:
        hosts: names or addresses. One that is named twice may be two nodes.
        n_workers: nodes to begin with.
        lock_name: what clusters share that share hosts.
        connect_options: of asyncssh.connect: username, port, client_keys, known_hosts.
        remote_python: the command of the Python on the hosts.
        worker_options: of the Dask worker of each host.
        scheduler_options: of the Dask scheduler, which runs on the first host that answers.
        arguments: as of SpecCluster.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        n_workers: int,
        lock_name: str,
        connect_options: Mapping[str, Any],
        remote_python: str,
        worker_options: Mapping[str, Any],
        scheduler_options: Mapping[str, Any],
        **arguments: Any,
    ) -> None:
        common = {"hosts": hosts, "address": "", "connect_options": connect_options, "remote_python": remote_python}
        scheduler = {"cls": SchedulerOfHosts, "options": {**common, "kwargs": dict(scheduler_options)}}
        options = {**common, "lock_name": lock_name}
        self._nodes = [
            {"cls": Node, "options": {**options, "kwargs": {**worker_options, "name": number}}}
            for number in range(len(hosts))
        ]
        super().__init__(dict(enumerate(self._nodes[:n_workers])), scheduler, **arguments)  # pyright: ignore[reportUnknownMemberType]

    def new_worker_spec(self) -> dict[Any, Any]:
        held = cast(dict[int, Any], self.worker_spec)  # pyright: ignore[reportUnknownMemberType]
        free = next((number for number in range(len(self._nodes)) if number not in held), None)
        if free is None:
            raise ValueError(f"all {len(self._nodes)} hosts are nodes already")
        return {free: self._nodes[free]}


class SchedulerOfHosts(Scheduler):
    """Dask's scheduler by ssh, on the first host that can run it."""

    def __init__(self, *, hosts: Sequence[str], remote_python: str, **options: Any) -> None:
        super().__init__(remote_python=f"{remote_python} {_TETHER}", **options)  # pyright: ignore[reportUnknownMemberType]
        self._hosts = hosts

    async def start(self) -> None:
        await _first(self, [(host, str(self.remote_python)) for host in self._hosts], super().start)
        self._drained = asyncio.create_task(_drain(self.proc))


class Node(Worker):
    """Dask's worker by ssh, on the first host, from its own number on, that is not taken; tried until there is one."""

    def __init__(
        self, scheduler: str, *, hosts: Sequence[str], lock_name: str, remote_python: str, **options: Any
    ) -> None:
        super().__init__(scheduler, **options)  # pyright: ignore[reportUnknownMemberType]
        names = [
            re.sub(r"[^\w.-]", "-", f"{lock_name}-{host}-{list(hosts[:index]).count(host)}")
            for index, host in enumerate(hosts)
        ]
        places = [(host, f"{remote_python} {_TETHER} --as {name}") for host, name in zip(hosts, names, strict=True)]
        first = int(options["name"]) % len(places)
        self._places = places[first:] + places[:first]
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._start_somewhere(super().start))
        await ProcessInterface.start(self)

    async def _start_somewhere(self, start: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await _first(self, self._places, start)
                break
            except Exception as error:
                logger.warning("None of %s hosts can be a node now: %s", len(self._places), error)
                await asyncio.sleep(RETRY_SECONDS)
        await _drain(self.proc)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await super().close()


async def _first(process: Any, places: Sequence[tuple[str, str]], start: Callable[[], Awaitable[None]]) -> None:
    """Start a process at the first place where that can be done; raises what the last one said."""
    for number, (host, python) in enumerate(places, 1):
        process.address, process.remote_python = host, python
        try:
            await start()
            return
        except Exception as error:
            logger.info("Host %s is passed over: %r", host, error)
            if process.connection:
                process.connection.close()
            if number == len(places):
                raise


async def _drain(process: Any) -> None:
    """Read what it writes, which it would wait for else once a buffer is full."""

    async def read(stream: Any) -> None:
        while line := await stream.readline():
            logger.debug(line.rstrip())

    await asyncio.gather(read(process.stdout), read(process.stderr))
