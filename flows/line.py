"""The line of jobs before a compute cluster: taking a place, waiting for one without a process, giving it back.

A job that waits is a flow run in the state Queued, scheduled for later, and holds nothing. Who has a place looks after
the line meanwhile: it drops jobs that have ended, and starts those that there is room for.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Pause, PrefectHTTPStatusError
from prefect.states import Scheduled

from ..blocks import ledger
from ..blocks.cluster_kind import Shape
from ..blocks.compute import ComputeCluster, find_compute
from ..blocks.ledger import LEASE, Holder, KeptCluster, Ledger
from ..scoring.errors import InvalidDocument, NotFound
from .job_status import QUEUED

LOGGER = logging.getLogger(__name__)
TEND_SECONDS = 2.0
"""How often the line is looked after."""
_SLOWEST = 5
"""The first of several jobs with places looks each two seconds, the next each four, and none slower than five times."""
_RENEW_SECONDS = LEASE.total_seconds() / 3
_TRY_SECONDS = 3.0
"""How long the first in the line waits in its process, as room may come at once."""
_POLL_SECONDS = 0.5
_HEAD = timedelta(seconds=30)
"""After which the first in the line starts by itself, should everybody who looks after the line be gone."""
_OTHERS = timedelta(hours=1)
_PREFETCH = timedelta(seconds=15)
"""Workers start what is due so soon (PREFECT_WORKER_PREFETCH_SECONDS, 10, and a poll)."""
_SETTLED = timedelta(seconds=5)
"""After which the process of a job that put itself into the line has ended for certain: a worker with a limit dies
when a flow run is started whose process it still has."""
_CLOSE_SECONDS = 15.0
_PATIENCE = 600.0
"""Seconds that a server may be away when a job asks for its place."""
_PAGE = 200
_DOWN = (httpx.TransportError, PrefectHTTPStatusError, OSError)


class Place:
    """The instances that a job holds, until it is closed; a thread says that the job lives and looks after the line.

    Args:
        compute: the cluster.
        holder: the job's entry; None where a cluster has no bound, and a place is nothing.
        kept: the kept cluster that the job was given.
        instances: that the job holds.
        waited: seconds in the line.
    """

    def __init__(
        self,
        compute: ComputeCluster,
        instances: int,
        holder: Holder | None = None,
        kept: KeptCluster | None = None,
        waited: float = 0.0,
    ) -> None:
        self.instances, self.kept, self.waited = instances, kept, waited
        self._compute, self._holder = compute, holder
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        if holder is not None:
            # The settings of Prefect are in the context.
            run = contextvars.copy_context().run
            self._thread = threading.Thread(target=run, args=(self._look_after,), name="place", daemon=True)
            self._thread.start()

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the instances back and start who is next. Never raises: what fails is made up for by others."""
        raise NotImplementedError

    def _look_after(self) -> None:
        raise NotImplementedError


def take_place(
    client: SyncPrefectClient,
    compute: ComputeCluster,
    job_id: str,
    shape: Shape,
    flow_run: FlowRun,
    say: Callable[[str], None],
) -> Place:
    """A place for a job on a cluster.

    Args:
        client: of the Prefect server.
        compute: the cluster.
        job_id: of the job.
        shape: what the job needs.
        flow_run: of the job.
        say: receives what the job is waiting for.

    Raises prefect.exceptions.Pause once the job is in the line, its flow run Queued: the flow must end at once, and is
    started again when there is room. A flow run that no worker would start again waits here instead. Raises
    InvalidDocument for a job that the cluster is too small for by now.
    """
    raise NotImplementedError


def tend(client: SyncPrefectClient, compute: ComputeCluster) -> Ledger:
    """Look after the line once: drop who is gone, grant places, start those granted."""
    raise NotImplementedError
