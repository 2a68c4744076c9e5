"""`prefect worker start` for batch endpoints: `python -m prefect_batch.interfaces.worker [OPTION ...]`.

A worker of the type `process` whose flow runs begin at once: their processes, and those that score, are forked from
two that have imported all that they need. A plain `prefect worker start` runs the same jobs, each some seconds later.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.utilities.processutils import command_to_string
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from ..blocks.local_kind import FORK_SERVER as FLOW_FORK_SERVER
from ..flows import jobs
from ..flows.publication import WORK_POOL
from ..scoring import forked
from ..scoring.supervisor import FORK_SERVER as SCORING_FORK_SERVER
from ..scoring.supervisor import ONE_THREAD
from . import orphans

_FLOWS = ("prefect.engine", "prefect.flow_engine", "prefect_batch.flows.endpoint", "distributed.cli.dask_spec")
_SCORING = (
    "prefect_batch.scoring.script",
    "prefect_batch.scoring.mlflow_model",
    "mlflow.pyfunc",
    "pandas",
    "pyarrow.parquet",
    "sklearn.ensemble",
    "sklearn.pipeline",
)
_NO_THREADS = ONE_THREAD | {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Only a process of one thread is surely forked whole; pyarrow's allocator, for one, starts another."""


class BatchConfiguration(ProcessJobConfiguration):
    """Of a process that is forked, unless the work pool or the deployment names a command.

    It prints where this worker does and not to it: a job goes on when its worker is killed.
    """

    def prepare_for_flow_run(self, *args: Any, **kwargs: Any) -> None:
        if self.command is None and (server := os.environ.get(FLOW_FORK_SERVER)):
            how = [forked.ALOOF] if self.stream_output else []
            program = [sys.executable, "-S", "-E", forked.__file__, *how, server, "prefect.engine"]
            self.command = command_to_string(program)
        super().prepare_for_flow_run(*args, **kwargs)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it takes the place of Prefect's own, here

    class BatchWorker(ProcessWorker):
        """Prefect's process worker, in whose place it stands in this process."""

        type = "process"
        job_configuration = BatchConfiguration

        async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
            """A worker that has all that it may does not ask for more: an answer of hundreds is work for the server."""
            if self._limiter is not None and self._limiter.available_tokens < 1:
                return []
            return await super()._get_scheduled_flow_runs()

        async def _submit_scheduled_flow_runs(self, flow_run_response: list[WorkerFlowRunResponse]) -> list[FlowRun]:
            """A run resumed while its process still ends waits for the next look: it holds its place under the limit,
            and to take a second one for it would end the worker."""
            places = self._limiter.statistics().borrowers if self._limiter else ()
            free = [found for found in flow_run_response if found.flow_run.id not in places]
            return await super()._submit_scheduled_flow_runs(free)

        async def _propose_crashed_state(self, flow_run: FlowRun, message: str, *args: Any, **kwargs: Any) -> None:
            """Told a second time, the end of a process would undo that its job was resumed in between."""
            if message.startswith(jobs.SECOND_CRASH) and not _goes_on(
                flow_run, await self.client.read_flow_run(flow_run.id)
            ):
                return
            await super()._propose_crashed_state(flow_run, message, *args, **kwargs)


def _goes_on(given: FlowRun, now: FlowRun) -> bool:
    """Whether the run that a worker was given is, to the server, still the one under way."""
    if now.state is None or now.state.is_final() or now.state.is_scheduled():
        return False
    return now.run_count + now.state.is_pending() <= given.run_count + 1


@contextlib.contextmanager
def fork_servers() -> Generator[None]:
    """Two of them while the block runs, which those that it starts find by their variables. On Linux."""
    if sys.platform != "linux":
        yield
        return
    folder = tempfile.mkdtemp(prefix="prefect-batch-")  # which they remove
    with contextlib.ExitStack() as tethers:
        for name, variable, modules in (
            ("flow", FLOW_FORK_SERVER, _FLOWS),
            ("scoring", SCORING_FORK_SERVER, _SCORING),
        ):
            path = str(Path(folder) / name)
            server = subprocess.Popen(
                [sys.executable, "-P", "-m", "prefect_batch.scoring.fork_server", path, *modules],
                env=os.environ | _NO_THREADS | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.PIPE,
                process_group=0,
            )
            assert server.stdin is not None
            tethers.callback(server.stdin.close)
            os.environ[variable] = path
        yield


def main() -> None:
    """Raises SystemExit, as Prefect's commands do."""
    from prefect.cli import app

    threading.Thread(target=orphans.tend, name="orphans", daemon=True).start()
    with fork_servers():
        sys.argv = ["prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process", *sys.argv[1:]]
        app()


if __name__ == "__main__":
    main()
