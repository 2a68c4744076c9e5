"""Jobs as their callers see them: invoke, find, follow, cancel, resume."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    DeploymentFilter,
    FlowFilter,
    FlowRunFilter,
    LogFilter,
)
from prefect.client.schemas.objects import FlowRun, Log, State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort, LogSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings
from prefect.states import AwaitingRetry, Cancelling

from ..blocks.datastore import open_folder
from ..scoring.errors import BatchError, NotFound
from .job import RECORD, job_root
from .pipeline_job import AnyJob, load_job
from .progress import PROGRESS
from .publication import FLOW, WORK_POOL, published
from .refusal import refused
from .stand_alone import FLOW as STAND_ALONE

POLL_SECONDS = 0.5
JOBS = FlowFilter.model_validate({"name": {"any_": [FLOW, STAND_ALONE]}})
"""The flows whose runs are jobs."""
PAGE = 200
"""Jobs that the server gives at a time at most."""
_LAST = "Finished in state "
_LAST_SECONDS = 5.0
"""How long the last lines of a job may take to the server after its last state."""
SECOND_CRASH = "Flow run infrastructure exited"
"""How Prefect's worker tells once more, with another state, that a job's process has ended."""
_FIRST_CRASH, _CRASH_SECONDS = ("Process exited", "Flow run process exited"), 10.0
"""How it tells so first, in one of two ways, and how long it may be until the second."""
_CLOCKS = timedelta(seconds=10)
"""How far the clocks of server and worker may be apart."""
_TOLD_BY_STATES = ("Beginning flow run ", _LAST, "Task run failed with state: ")
"""How Prefect's own lines begin that say once more what a job's states say."""


@dataclass
class Progress:
    """A running job, as last reported: mini-batches, items and rows so far; of a pipeline steps."""

    completed: int = 0
    total: int = 0
    items: int | None = None
    failed: int = 0
    rows: int | None = None

    @property
    def units(self) -> tuple[str, str]:
        """What completed and total count, and what failed does."""
        return ("steps", "steps") if self.items is None else ("mini-batches", "files")


def invoke(
    client: SyncPrefectClient,
    endpoint: str,
    parameters: Mapping[str, Any],
    job_name: str | None = None,
    caller: str | None = None,
    idempotency_key: str | None = None,
    tags: Sequence[str] = (),
) -> FlowRun:
    """Call an endpoint; returns at once. Raises NotFound, InvalidDocument for what the server refuses.

    Args:
        client: of the Prefect server.
        endpoint: name of the endpoint.
        parameters: `inputs`, `outputs`, `deployment`, `settings`.
        job_name: instead of a name made up.
        caller: the principal that the job runs as, where something in front of Prefect knows it.
        idempotency_key: a call with the key of an earlier one gets that one's job, also when both arrive at once. By
            default one that no other call has: Prefect's client asks again when an answer is lost.
        tags: of the job, beside those of the endpoint.
    """
    deployment = find_endpoint(client, endpoint)
    given = dict(parameters) | ({"caller": caller} if caller is not None else {})
    try:
        return client.create_flow_run_from_deployment(
            deployment.id, parameters=given, name=job_name, idempotency_key=idempotency_key or str(uuid4()), tags=tags
        )
    except PrefectHTTPStatusError as error:
        if error.response.status_code != 409:
            raise
        detail = str(error.response.json().get("detail", ""))
        raise refused(client, endpoint, parameters, detail) from None


def find_endpoint(client: SyncPrefectClient, endpoint: str) -> DeploymentResponse:
    """The Prefect deployment that an endpoint is. Raises NotFound naming those that there are."""
    if (held := published(client, endpoint)) is not None:
        return held
    known = [other.name for other in _endpoints(client)]
    has = f"there are {', '.join(known)}" if known else "make one with `prefect-batch endpoint create`"
    raise NotFound(f"endpoint {endpoint!r} does not exist: {has}")


def workers_online(client: SyncPrefectClient) -> bool:
    """Whether any worker would pick up a job now."""
    try:
        workers = client.read_workers_for_work_pool(WORK_POOL)
    except ObjectNotFound:
        return False
    return any(worker.status == "ONLINE" for worker in workers)


def _endpoints(client: SyncPrefectClient) -> list[Any]:
    return client.read_deployments(flow_filter=FlowFilter.model_validate({"name": {"any_": [FLOW]}}))


def list_jobs(
    client: SyncPrefectClient, endpoint: str | None = None, limit: int = 50, offset: int = 0
) -> list[FlowRun]:
    """The newest jobs first, without the `offset` newest: of one endpoint, or of all and of none."""
    return client.read_flow_runs(
        flow_filter=JOBS,
        deployment_filter=DeploymentFilter.model_validate({"name": {"any_": [endpoint]}}) if endpoint else None,
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=limit,
        offset=offset,
    )


def newest_jobs(
    client: SyncPrefectClient, endpoint: str | None, limit: int, deployment: str | None = None
) -> list[FlowRun]:
    """As many of the newest jobs as there are, up to any limit: the server gives them a page at a time.

    Args:
        client: of the Prefect server.
        endpoint: whose jobs; None for all.
        limit: how many to look at.
        deployment: of these, only the jobs that are known to have run it.
    """
    found: list[FlowRun] = []
    while len(found) < limit:
        wanted = min(PAGE, limit - len(found))
        page = list_jobs(client, endpoint, wanted, len(found))
        found += page
        if len(page) < wanted:
            break
    if deployment is None:
        return found
    return [run for run in found if (held := record_of(client, run)) and held.deployment.name == deployment]


def pages(client: SyncPrefectClient, **filters: Any) -> Iterator[list[FlowRun]]:
    """All flow runs that filters of read_flow_runs() let through, a page at a time; the last may be empty."""
    offset, size = 0, PAGE
    while size == PAGE:
        page = client.read_flow_runs(limit=PAGE, offset=offset, **filters)
        size = len(page)
        offset += size
        yield page


def job_of(client: SyncPrefectClient, endpoint: str | None, job: UUID) -> FlowRun | None:
    """The job of that id, of one endpoint or of any; None for what else has such an id."""
    only = FlowRunFilter.model_validate({"id": {"any_": [job]}})
    flows = FlowFilter.model_validate({"name": {"any_": [FLOW]}})
    found = client.read_flow_runs(flow_filter=flows, flow_run_filter=only, limit=1)
    return next((run for run in found if endpoint in (None, run.parameters.get("endpoint"))), None)


def find(client: SyncPrefectClient, job: str) -> FlowRun:
    """A job by its id, or by the name it was given. Raises NotFound."""
    try:
        return client.read_flow_run(UUID(job))
    except (ValueError, ObjectNotFound):
        pass
    found = client.read_flow_runs(
        flow_filter=JOBS,
        flow_run_filter=FlowRunFilter.model_validate({"name": {"any_": [job]}}),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
    )
    if not found:
        raise NotFound(f"job {job!r} does not exist: see `prefect-batch job list`")
    return found[0]


def record_of(client: SyncPrefectClient, flow_run: FlowRun) -> AnyJob | None:
    """The job's record, once it has one."""
    folder = open_folder(job_root(client, str(flow_run.id)))
    return load_job(folder) if folder.exists(RECORD) else None


def ui_url(flow_run: FlowRun) -> str | None:
    """The job's page in the Prefect UI."""
    ui = get_current_settings().server.ui.api_url or get_current_settings().api.url
    return f"{ui.removesuffix('/api')}/runs/flow-run/{flow_run.id}" if ui else None


def progress_of(client: SyncPrefectClient, flow_run_id: UUID) -> Progress | None:
    """What the job last reported, or None before its first report."""
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter.model_validate(
            {"key": {"any_": [PROGRESS]}, "flow_run_id": {"any_": [flow_run_id]}}
        )
    )
    if not found:
        return None
    newest = max(found, key=lambda artifact: artifact.updated or datetime.min)
    return Progress(**{key: int(value) for key, value in (newest.metadata_ or {}).items()})


def follow(
    client: SyncPrefectClient,
    flow_run_id: UUID,
    on_progress: Callable[[FlowRun, Progress | None], None],
    on_log: Callable[[str], None],
) -> FlowRun:
    """Watch a job until it ends; returns it as it ended.

    `on_log` receives what the job itself says, and warnings of its scoring processes.
    """
    seen: set[UUID] = set()
    until = float("inf")
    while True:
        flow_run = client.read_flow_run(flow_run_id)
        on_progress(flow_run, progress_of(client, flow_run_id))
        logs = _logs(client, flow_run)
        for log in logs:
            if log.id not in seen and not log.message.startswith(_TOLD_BY_STATES):
                on_log(log.message)
            seen.add(log.id)
        if flow_run.state is not None and flow_run.state.is_final():
            until = min(until, time.monotonic() + _LAST_SECONDS)
            if time.monotonic() >= until or not _more_to_come(flow_run, flow_run.state, logs):
                return flow_run
        time.sleep(POLL_SECONDS)


def _more_to_come(flow_run: FlowRun, state: State[Any], logs: list[Log]) -> bool:
    """Whether a job that has ended by itself has lines on their way: they reach the server after its state."""
    if not (state.is_completed() or state.is_failed()):
        return False
    return not any(
        log.flow_run_id == flow_run.id and log.message.startswith(_LAST) and log.timestamp > state.timestamp - _CLOCKS
        for log in logs
    )


def _logs(client: SyncPrefectClient, flow_run: FlowRun) -> list[Log]:
    """The newest lines of the job from INFO up and of the flow below it from WARNING up, oldest first."""
    if flow_run.start_time is None:
        return []  # what is said before is the worker's business
    below = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [flow_run.id]}})
    levels = {flow_run.id: logging.INFO} | {
        run.id: logging.WARNING for run in client.read_flow_runs(flow_run_filter=below)
    }
    found: list[Log] = []
    for run, level in levels.items():
        only = LogFilter.model_validate(
            {
                "flow_run_id": {"any_": [run]},
                "level": {"ge_": level},
                "timestamp": {"after_": flow_run.start_time},
            }
        )
        found += client.read_logs(only, limit=200, sort=LogSort.TIMESTAMP_DESC)
    return sorted(found, key=lambda log: log.timestamp)


def cancel(client: SyncPrefectClient, flow_run: FlowRun) -> None:
    """Ask for a job's end; the worker stops all its processes. Raises BatchError if it has ended."""
    if flow_run.state is not None and flow_run.state.is_final():
        raise BatchError(f"job {flow_run.id} has ended: it is {flow_run.state.name}")
    client.set_flow_run_state(flow_run.id, Cancelling())


def resume(client: SyncPrefectClient, flow_run: FlowRun, force: bool = False) -> None:
    """Start a job again that did not complete; it goes on from its committed parts.

    Raises BatchError for a job that completed, or that still runs as far as the server knows (a job whose whole
    machine was lost stays Running: `force` is for it).
    """
    state = flow_run.state
    if state is not None and state.is_completed():
        raise BatchError(f"job {flow_run.id} has completed: there is nothing to resume")
    if state is not None and not state.is_final() and not force:
        raise BatchError(f"job {flow_run.id} is {state.name}: cancel it first, or use --force if its machine is gone")
    _wait_for_second_crash(client, flow_run)
    client.set_flow_run_state(flow_run.id, AwaitingRetry(message="Resumed by hand"), force=True)


def _wait_for_second_crash(client: SyncPrefectClient, flow_run: FlowRun) -> None:
    """Of a process that was killed, Prefect's worker tells twice; the second time would undo what comes between."""
    state, until = flow_run.state, time.monotonic() + _CRASH_SECONDS
    while state is not None and state.is_crashed() and (state.message or "").startswith(_FIRST_CRASH):
        age = (datetime.now(UTC) - state.timestamp).total_seconds()
        if age > _CRASH_SECONDS or time.monotonic() > until:
            return
        time.sleep(0.2)
        state = client.read_flow_run(flow_run.id).state
