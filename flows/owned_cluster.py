"""A Dask cluster that was started here, for one job or for one after the other: scaled, mended and closed."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import dask.config
from distributed import Client, Nanny
from distributed.core import Status
from distributed.deploy.cluster import Cluster

from ..blocks.cluster_kind import Kind, Shape
from ..scoring.errors import InvalidDocument, JobFailed

CLOSE_SECONDS = 30.0
_LOOK_SECONDS, _MEND_SECONDS = 0.5, 5.0
# How long a nanny, which starts another worker in place of one that died, may take for that.
_LOST_HERE, _LOST_ELSEWHERE = "60s", "10s"

logger = logging.getLogger(__name__)


class OwnedCluster:
    """Starts a cluster and owns it until close().

    Nodes that are lost are replaced. With `chaos` in the compute's record some are taken away on its schedule.

    Args:
        kind: of the compute that it is started on.
        shape: of the nodes, and their first number.

    Raises InvalidDocument where a package is missing, JobFailed where it does not start.
    """

    def __init__(self, kind: Kind, shape: Shape) -> None:
        self._kind, self._wanted = kind, shape.instances
        make, arguments = _cluster_class(kind, shape)
        lost = _LOST_HERE if kind.on_this_machine else _LOST_ELSEWHERE
        self._config: Any = dask.config.set({"distributed.deploy.lost-worker-timeout": lost})
        try:
            self._cluster: Any = make(**arguments)
        except Exception as error:
            self._config.__exit__(None, None, None)
            said = " ".join(str(error).split()) or type(error).__name__
            raise JobFailed(f"compute {kind.compute.name!r}: its cluster did not start: {said}") from error
        self.address = str(self._cluster.scheduler_address)
        self._mend_at = self._chaos_at = time.monotonic()
        self._mended_at = 0.0
        self._chaos = kind.compute.chaos
        self._random = random.Random(self._chaos.seed if self._chaos else 0)  # nosec B311 # to be repeated
        if self._chaos:
            self._chaos_at += self._chaos.interval
        self._closed = threading.Event()
        self._scaling = threading.Lock()
        self._thread = threading.Thread(target=self._look_after, name="cluster", daemon=True)
        self._thread.start()

    @property
    def security(self) -> Any:
        """What clients need to connect, for clusters that encrypt; else None."""
        security: Any = getattr(self._cluster, "security", None)
        return security if security is not None and security.require_encryption else None

    @property
    def wanted(self) -> int:
        """The number of nodes that it is kept at."""
        return self._wanted

    @property
    def present(self) -> int:
        """The number of nodes that its scheduler knows."""
        return len(self.nodes)

    def scale(self, instances: int) -> None:
        """Ask for a number of nodes; they come and go in their own time."""
        with self._scaling:
            self._wanted = instances
            self._cluster.scale(instances)

    def close(self) -> None:
        """End the scheduler and all nodes. Never raises, and takes no longer than CLOSE_SECONDS."""
        self._closed.set()
        self._thread.join(CLOSE_SECONDS / 3)
        try:
            self._cluster.close(timeout=CLOSE_SECONDS)
        except Exception as error:
            logger.warning("The cluster at %s did not close as it should: %r", self.address, error)
        finally:
            self._config.__exit__(None, None, None)

    def _look_after(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            try:
                if self._chaos is not None and time.monotonic() >= self._chaos_at:
                    self._chaos_at += self._chaos.interval
                    self._take_away(self._chaos.nodes, self._chaos.away)
                self._mend()
            except Exception as error:  # a cloud that does not answer now may in a while
                logger.warning("The cluster at %s could not be looked after: %r", self.address, error)

    @property
    def nodes(self) -> dict[str, Any]:
        """Names of the nodes that the scheduler knows now, by their addresses."""
        workers: dict[str, Any] = self._cluster.scheduler_info["workers"]
        return {address: about["name"] for address, about in list(workers.items())}

    def _mend(self) -> None:
        now = time.monotonic()
        workers: dict[Any, Any] = getattr(self._cluster, "workers", {})
        ended = [name for name, node in list(workers.items()) if getattr(node, "status", None) is Status.closed]
        if len(self.nodes) >= self._wanted and not ended:
            self._mend_at = now + _MEND_SECONDS
        elif now >= self._mend_at or (ended and now >= self._mended_at + _MEND_SECONDS):
            self._mend_at, self._mended_at = now + _MEND_SECONDS, now
            with self._scaling:
                if ended:
                    self._cluster.sync(_forget, self._cluster, ended)
                self._cluster.scale(self._wanted)

    def _take_away(self, number: int, away: float) -> None:
        nodes = sorted(self.nodes.items(), key=lambda node: str(node[1]))
        chosen = self._random.sample(nodes, min(number, len(nodes)))
        if chosen:
            self._mend_at = time.monotonic() + away
        for address, name in chosen:
            logger.info("Chaos takes node %s away", name)
            here: Any = getattr(self._cluster, "workers", {}).get(name)
            if not isinstance(here, Nanny):
                _end_elsewhere(self.address, self.security, address)
            elif away:
                self._cluster.sync(_end_nanny, self._cluster, name, here)
            elif here.pid is not None:
                os.kill(here.pid, signal.SIGKILL)


def _cluster_class(kind: Kind, shape: Shape) -> tuple[Callable[..., Cluster], dict[str, Any]]:
    """The class and its arguments. Raises InvalidDocument."""
    kind.require()
    path, arguments = kind.cluster(shape)
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name), arguments
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidDocument(f"compute {kind.compute.name!r}: {path} cannot be imported: {error}") from None


async def _forget(cluster: Any, names: list[Any]) -> None:
    """Nodes whose processes have ended: one that the scheduler never knew Dask would wait for, the others for a minute
    in which a nanny might start them again."""
    for name in names:
        cluster.workers.pop(name, None)
        cluster.worker_spec.pop(name, None)


async def _end_nanny(cluster: Any, name: Any, nanny: Nanny) -> None:
    """The node, at once, and its nanny with it: nobody replaces the node before the cluster is mended."""
    cluster.workers.pop(name, None)
    closing = asyncio.ensure_future(nanny.close(timeout=1))
    await asyncio.sleep(0)  # it is closing now: the death of its worker is no reason to start another
    if nanny.pid is not None:
        os.kill(nanny.pid, signal.SIGKILL)
    await closing


def _end_elsewhere(scheduler: str, security: Any, worker: str) -> None:
    """A node on another machine, with its nanny where it has one."""
    client: Any
    with Client(scheduler, security=security, set_as_default=False) as client:
        for nanny in (True, False):
            with contextlib.suppress(Exception):
                client.run(_die, workers=[worker], nanny=nanny, wait=False, on_error="ignore")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
