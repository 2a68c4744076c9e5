"""What jobs have cost: from what each of their runs has left, those too that were killed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from ..blocks.datastore import default_datastore, open_folder
from ..scoring.errors import BatchError
from ..scoring.parts import committed
from . import jobs
from .commit import read_result
from .job import JOBS, Job, job_root
from .pipeline_job import AnyJob, load_job
from .step_values import record_of
from .summary import read_consumption
from .usage import Bill, Usage, read_usages

DAYS = 30
_READERS = 8


@dataclass
class Cost:
    """What jobs have cost together."""

    bill: Bill = field(default_factory=Bill)
    jobs: int = 0
    endpoint: str | None = None
    """Of all of them; None too for jobs without one."""
    day: date | None = None
    """In UTC, on which all of them began; a job counts there as a whole."""
    job: str | None = None
    """Where it is but one."""

    def add(self, other: Cost) -> None:
        """Count others in."""
        self.bill.add(other.bill)
        self.jobs += other.jobs


def of_job(client: SyncPrefectClient, flow_run: FlowRun) -> Cost:
    """What one job has cost so far; a job that never had instances, nothing."""
    endpoint = flow_run.parameters.get("endpoint")
    cost = _read(job_root(client, str(flow_run.id)))
    return cost or Cost(jobs=1, endpoint=endpoint, job=str(flow_run.id))


def by_day(client: SyncPrefectClient, endpoint: str | None, since: date, say: Callable[[str], None]) -> list[Cost]:
    """What the jobs of each endpoint and day have cost, in that order; jobs without instances are not in it.

    Args:
        client: of the Prefect server.
        endpoint: only of this one.
        since: the first day, in UTC.
        say: told of each job whose files cannot be read.
    """
    costs: dict[tuple[str, date], Cost] = {}
    with ThreadPoolExecutor(_READERS) as pool:
        for page in _pages(client, endpoint, since):
            for run, cost in zip(page, pool.map(_read_or_error, _roots(client, page)), strict=True):
                if isinstance(cost, Exception):
                    say(f"job {run.id} is left out: {cost}")
                elif cost is None or cost.day is None or cost.day < since:
                    continue
                else:
                    key = (cost.endpoint or "", cost.day)
                    costs.setdefault(key, Cost(endpoint=cost.endpoint, day=cost.day)).add(cost)
    return [costs[key] for key in sorted(costs)]


def total(costs: Iterable[Cost]) -> Cost:
    """What all of them cost together."""
    whole = Cost()
    for cost in costs:
        whole.add(cost)
    return whole


def since_days(days: int | None, today: date | None = None) -> date:
    """The first of the last so many days, of which today is one."""
    return (today or datetime.now(UTC).date()) - timedelta(days=(days or DAYS) - 1)


def _pages(client: SyncPrefectClient, endpoint: str | None, since: date) -> Iterator[list[FlowRun]]:
    """The jobs that were started then or later, the oldest first: those that start meanwhile move none of the others.

    And those of the day before: one may have waited for its instances.
    """
    after = datetime.combine(since - timedelta(days=1), time(), UTC)
    began = FlowRunFilter.model_validate({"start_time": {"after_": after}})
    only = DeploymentFilter.model_validate({"name": {"any_": [endpoint]}}) if endpoint else None
    return jobs.pages(
        client,
        flow_filter=jobs.JOBS,
        flow_run_filter=began,
        deployment_filter=only,
        sort=FlowRunSort.START_TIME_ASC,
    )


def _roots(client: SyncPrefectClient, page: Sequence[FlowRun]) -> list[str]:
    """References of the folders of these jobs, as job_root() gives them, in a few calls for all."""
    ids = [str(run.id) for run in page]
    below = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": ids}})
    roots: dict[str, str] = {}
    for found in jobs.pages(client, flow_run_filter=below) if ids else ():
        for run in found:
            root = str(run.parameters.get("job_folder", ""))
            roots[root.rpartition("/")[2]] = root
    if any(job not in roots for job in ids):
        datastore = default_datastore(client)
        roots = {job: datastore.reference(f"{JOBS}/{job}") for job in ids} | roots
    return [roots[job] for job in ids]


def _read_or_error(root: str) -> Cost | Exception | None:
    try:
        return _read(root)
    except (BatchError, OSError) as error:
        return error


def _read(root: str) -> Cost | None:
    """What the job of that folder has cost; None where it never had instances."""
    folder = open_folder(root)
    usages = read_usages(folder)
    if not usages:
        return None
    job = load_job(folder)
    return Cost(Bill.of(usages, _busy(job)), 1, job.endpoint, _day(usages[0]), job.id)


def _day(usage: Usage) -> date:
    return datetime.fromisoformat(usage.started_at).astimezone(UTC).date()


def _busy(job: AnyJob) -> float | None:
    """Busy seconds of a job: as its last run has summed them up, or from what it has left so far.

    None for a flow in Python, whose tasks nobody counts.
    """
    folder = job.folder
    if not isinstance(job, Job) and job.deployment.graph is None:
        return None
    held = read_consumption(folder, runs=len((folder / "runs").names()))
    if held is not None:
        return held.busy_seconds
    if isinstance(job, Job):
        return sum(at.outcome.seconds for at in committed(folder).values())
    steps = job.deployment.graph.jobs if job.deployment.graph is not None else {}
    results = [read_result(record_of(job, step)) for step in steps]
    return sum(result.seconds for result in results if result is not None and result.reused_from is None)
