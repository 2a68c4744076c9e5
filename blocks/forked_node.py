"""A Dask worker on this machine that is forked from a process which has imported Dask and Prefect."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.config
from distributed.core import Status
from distributed.deploy.spec import ProcessInterface

from ..scoring import forked
from .local_kind import FORK_SERVER, LOOPBACK

_MODULE = "distributed.cli.dask_spec"
_CLOSE_SECONDS = 5.0


class ForkedNode(ProcessInterface):
    """A Dask worker without a nanny, as `worker_class` of a LocalCluster, which replaces it when it is lost.

    It ends with whoever started it, however that ends. Where the fork server does not answer, it is a fresh process.

    Args:
        scheduler: address.
        name: of the worker.
        nthreads: of the worker.
        memory_limit: of the worker, as Dask has it.
        host: that it listens on.
        options: of LocalCluster, for workers of other classes.
    """

    def __init__(
        self,
        scheduler: str,
        name: Any = None,
        nthreads: int = 1,
        memory_limit: Any = 0,
        host: str = LOOPBACK,
        **options: Any,
    ) -> None:
        super().__init__(scheduler=scheduler, name=name)  # pyright: ignore[reportUnknownMemberType]
        worker = {"name": name, "nthreads": nthreads, "memory_limit": memory_limit, "dashboard": False}
        worker |= {"host": host, "dashboard_address": f"{host}:0"}
        spec = json.dumps({"cls": "distributed.Worker", "opts": worker})
        self._command = [_MODULE, "--spec", spec, scheduler]
        self._process: forked.ForkedProcess | subprocess.Popen[bytes] | None = None
        self._ended: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the worker."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        self._process = await asyncio.to_thread(self._start)
        self._ended = asyncio.create_task(self._watch())
        await super().start()

    def _start(self) -> forked.ForkedProcess | subprocess.Popen[bytes]:
        config = dask.config.serialize(dask.config.global_config)  # pyright: ignore[reportUnknownMemberType]
        environment = os.environ | {"DASK_INTERNAL_INHERIT_CONFIG": config}
        with Path(os.devnull).open("rb") as nothing:
            fds = [nothing.fileno(), 1, 2]
            process = forked.fork(os.environ.get(FORK_SERVER), self._command, environment, str(Path.cwd()), fds)
        return process or subprocess.Popen(
            [sys.executable, "-P", "-m", "prefect_batch.scoring.tether", "-m", *self._command],
            env=environment,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    async def _watch(self) -> None:
        assert self._process is not None
        await asyncio.to_thread(self._process.wait)
        self.status = Status.closed
        self._event_finished.set()

    async def close(self) -> None:
        """End the worker, which the scheduler has told to end before, if it has not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._ended is None or self._ended.done():
                break
            assert self.pid is not None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            await asyncio.wait([self._ended], timeout=_CLOSE_SECONDS)
        await super().close()
