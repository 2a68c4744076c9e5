"""Jobs of this machine whose worker was killed: they go on, but nobody else would heed that one is cancelled."""

from __future__ import annotations

import contextlib
import time
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectException
from prefect.states import Cancelled

from ..blocks import store
from ..scoring import forked
from ..scoring.errors import BatchError
from .local_server import WORKER

LOOK_SECONDS = 5.0
GRACE_SECONDS = 60.0
"""For a job to let go of what it has, elsewhere too, once it was told to end."""


def tend() -> None:
    """For ever: end the orphans that are to be cancelled."""
    while True:
        time.sleep(LOOK_SECONDS)
        for process, flow_run in _orphans().items():
            # The server may be away for now, or know nothing of what another has had started here.
            with contextlib.suppress(BatchError, PrefectException, httpx.HTTPError), store.api() as client:
                _heed(client, process, flow_run)


def _heed(client: SyncPrefectClient, process: psutil.Process, flow_run: UUID) -> None:
    state = client.read_flow_run(flow_run).state
    if state is None or state.name != "Cancelling":
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        if psutil.wait_procs([process], GRACE_SECONDS)[1]:
            process.kill()  # its fork server kills the one that it stands for
    client.set_flow_run_state(flow_run, Cancelled(message="Cancelled; its worker had been killed."), force=True)


def _orphans() -> dict[psutil.Process, UUID]:
    """What stands for the processes of flow runs, and has lost the worker that started it."""
    found = dict[psutil.Process, UUID]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, KeyError):  # it has ended, or is somebody else's
            if forked.__file__ not in process.cmdline():
                continue
            parent = process.parent()
            if parent is None or WORKER not in parent.cmdline():
                found[process] = UUID(process.environ()["PREFECT__FLOW_RUN_ID"])
    return found
