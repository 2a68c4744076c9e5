"""How a job gets the Dask cluster that it runs on, and gives it back."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dask.config
from distributed import Client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from ..blocks import ledger
from ..blocks.cluster_kind import ALLOWED_FAILURES, DASK_CONFIG, PREEMPTIONS, Shape
from ..blocks.compute import ComputeCluster, builtin_local, find_compute
from ..scoring import slots
from ..scoring.errors import JobFailed, NotFound
from . import cluster_host
from .line import Place, take_place
from .node_watch import NodeWatch
from .owned_cluster import OwnedCluster
from .pipeline_job import AnyJob, PipelineJob
from .pipeline_runner import CODE
from .summary import settle
from .usage import Usage

_SCALE_SECONDS, _RESTART_SECONDS = 10.0, 30.0
_BRIEFLY: dict[str, Any] = {"set_as_default": False, "timeout": 10.0}


@dataclass(frozen=True)
class Provision:
    """The cluster of the job that runs here."""

    address: str
    """Of its scheduler."""
    security: Any
    """What clients need to connect; None for a cluster that does not encrypt."""
    private: bool
    """Whether it was made for this job alone, and ends with it."""
    nodes: NodeWatch
    say: Callable[[str], None]
    """Writes a line in the job's own log, where its followers look."""

    def usage(self) -> Usage:
        """What the job has had of it until now."""
        return self.nodes.usage()


_CURRENT: ContextVar[Provision | None] = ContextVar("_CURRENT", default=None)


def current() -> Provision | None:
    """The cluster of the job whose flow runs in this context; None in a trial run."""
    return _CURRENT.get()


def runner_arguments() -> dict[str, Any]:
    """Of a task runner on the cluster of the job whose flow runs in this context."""
    cluster = _CURRENT.get()
    assert cluster is not None, "only a job has a cluster"
    security = {"client_kwargs": {"security": cluster.security}} if cluster.security is not None else {}
    return {"address": cluster.address, **security}


@contextmanager
def provisioned(
    client: SyncPrefectClient, job: AnyJob, shape: Shape, flow_run: FlowRun, say: Callable[[str], None]
) -> Generator[None]:
    """A cluster for the time of the block, as current().

    Args:
        client: of the Prefect server.
        job: as recorded.
        shape: what the job needs.
        flow_run: of the job.
        say: writes a line in the job's own log.

    Raises BatchError where there is no way to get one, and prefect.exceptions.Pause where the job has to wait for
    room: its flow run, which is Queued then, has to end and is started again.
    """
    compute = _as_it_is_now(client, job.compute)
    with ExitStack() as stack:
        place = stack.enter_context(take_place(client, compute, job.id, shape, flow_run, say))
        usage, began = _usage(compute, shape, place.waited), time.monotonic()
        stack.enter_context(dask.config.set(DASK_CONFIG | _failures(job, compute)))
        found, dask_client = _found(stack, client, job, compute, shape, place)
        usage.warm = found.warm
        resume = f"when there are nodes again, `prefect-batch job resume {job.id}` goes on"
        nodes = NodeWatch(dask_client, usage, began, job.folder, job.settings.node_wait_timeout, resume)
        stack.callback(settle, job.folder)  # when nodes has written its last
        stack.callback(nodes.close)
        nodes.wait_for_nodes()
        # A kept cluster may be of another size, and its host is about to change that.
        nodes.wait_for_count(shape.instances, _SCALE_SECONDS if found.warm else 0)
        token = _CURRENT.set(Provision(found.address, found.security, found.private, nodes, say))
        try:
            yield
        finally:
            _CURRENT.reset(token)


def stop_kept(client: SyncPrefectClient, compute: str) -> int:
    """Tell the kept clusters of a compute that are idle to end; returns their number."""
    idle = set[str]()

    def step(held: ledger.Ledger, _: datetime) -> ledger.Ledger:
        idle.clear()
        idle.update(kept.id for kept in held.kept if kept.job is None)
        return held.with_leaving(idle)

    ledger.change(client, compute, step)
    return len(idle)


@dataclass(frozen=True)
class _Found:
    address: str
    security: Any = None
    private: bool = False
    warm: bool = False


def _found(
    stack: ExitStack, client: SyncPrefectClient, job: AnyJob, compute: ComputeCluster, shape: Shape, place: Place
) -> tuple[_Found, Client]:
    """The job's cluster, with a client of it; what is to end with the job is left to the stack. Raises BatchError."""
    kind = compute.kind()
    if not kind.provisions:
        found = _Found(str(compute.address))
        return found, _connect(compute, found)
    failures: int = dask.config.get(ALLOWED_FAILURES)  # pyright: ignore[reportUnknownMemberType]
    if (kept := place.kept) is not None:
        try:
            if not cluster_host.may_live(kept):
                raise ConnectionError("its host was killed")
            return _Found(kept.address, warm=True), _cleaned(Client(kept.address, **_BRIEFLY), failures)
        except (OSError, TimeoutError):  # or its host is on another machine
            ledger.change(client, compute.name, lambda held, _: held.without_kept(kept.id))
    if not compute.keeps:
        cluster = OwnedCluster(kind, shape)
        stack.callback(cluster.close)
        found = _Found(cluster.address, cluster.security, private=True)
        return found, _connect(compute, found)
    found = _Found(cluster_host.start(compute, shape, shape.node_label, job.id))
    return found, _cleaned(_connect(compute, found), failures)


def _cleaned(client: Client, allowed_failures: int) -> Client:
    """Make a cluster that may have had other jobs ready for this one. Raises OSError, TimeoutError."""
    dask_client: Any = client
    try:
        left = dask_client.run_on_scheduler(_prepare, allowed_failures=allowed_failures)
        used: dict[str, bool] = dask_client.run(_is_in_use, on_error="ignore")
        if left or any(used.values()):  # of a job that was killed
            dask_client.restart(timeout=_RESTART_SECONDS)
    except BaseException:
        dask_client.close()
        raise
    return client


def _is_in_use(dask_worker: Any) -> bool:
    return slots.any_held() or dask_worker.state.executing_count > 0


def _prepare(allowed_failures: int, dask_scheduler: Any) -> bool:
    """On the scheduler, for the job that comes; returns whether one that was killed has left code there."""
    dask_scheduler.allowed_failures = allowed_failures
    left = [name for name in dask_scheduler.worker_plugins if name.startswith(CODE)]
    for name in left:
        del dask_scheduler.worker_plugins[name]
    return bool(left)


def _connect(compute: ComputeCluster, found: _Found) -> Client:
    try:
        return Client(found.address, security=found.security, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise JobFailed(
            f"compute {compute.name!r}: the Dask scheduler at {found.address} does not answer: see that it runs and "
            f"can be reached from here, then resume the job: {error}"
        ) from None


def _as_it_is_now(client: SyncPrefectClient, recorded: ComputeCluster) -> ComputeCluster:
    """The job's compute: it may have been changed since the job was called, or first started."""
    if recorded == builtin_local():
        return recorded
    try:
        return find_compute(client, recorded.name)
    except NotFound:
        return recorded


def _failures(job: AnyJob, compute: ComputeCluster) -> dict[str, int]:
    """How many deaths of workers a task survives, where that is not as Dask's own configuration says."""
    if compute.is_preemptible:
        return {ALLOWED_FAILURES: PREEMPTIONS}  # whoever was on a node that was taken away is not to blame
    if isinstance(job, PipelineJob) and job.deployment.graph is not None:
        return {ALLOWED_FAILURES: 0}  # each is told at once: how often a step is tried again, its retry_settings say
    return {}


def _usage(compute: ComputeCluster, shape: Shape, waited: float) -> Usage:
    priced = compute.price_per_instance_hour is not None
    return Usage(
        compute=compute.name,
        asked=shape.instances,
        processes=shape.processes,
        started_at=datetime.now(UTC).isoformat(),
        queued_seconds=round(waited, 3),
        price_per_instance_hour=compute.price_per_instance_hour,
        currency=compute.currency if priced else None,
        max_instances=compute.capacity,
    )
