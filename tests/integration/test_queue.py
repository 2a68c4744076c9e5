"""Jobs over the capacity of their compute cluster wait in order, hold nothing, and start as soon as there is room."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from endpoints import Endpoints, until
from pipeline_jobs import make_job
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running

from prefect_batch.blocks import ledger, store
from prefect_batch.blocks.cluster_kind import Shape
from prefect_batch.blocks.compute import ComputeCluster, builtin_local, find_compute, save_compute
from prefect_batch.blocks.ledger import Holder, Ledger
from prefect_batch.blocks.store import list_all
from prefect_batch.flows import jobs, provision
from prefect_batch.flows.job_status import status_of
from prefect_batch.flows.line import Place, take_place
from prefect_batch.flows.provision import provisioned
from prefect_batch.flows.publication import WORK_POOL, ensure_work_pool
from prefect_batch.interfaces.local_server import LocalServer

JOIN_SECONDS = 120
FLOW = """
import json, os, time
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from prefect_batch.blocks.cluster_kind import Shape
from prefect_batch.blocks.compute import find_compute
from prefect_batch.flows.line import take_place


@flow(persist_result=False)
def hold(compute: str, folder: str, instances: int = 1):
    run = FlowRunContext.get().flow_run
    log = Path(folder, "log")

    def note(what, **more):
        with log.open("a") as file:
            told = {"what": what, "job": str(run.id), "pid": os.getpid(), "instances": instances, "at": time.time()}
            file.write(json.dumps(told | more) + "\\n")

    with get_client(sync_client=True) as client:
        cluster = find_compute(client, compute)
        place = take_place(client, cluster, str(run.id), Shape(instances), run, get_run_logger().info)
    with place:
        note("start", waited=place.waited)
        while not Path(folder, "release").exists():
            time.sleep(0.05)
        note("end")
"""


def due_in(run: FlowRun) -> timedelta:
    """When a job in the line would start by itself."""
    return run.state.state_details.scheduled_time - datetime.now(UTC)


def fail(text: str) -> None:
    raise AssertionError(text)


class Queue:
    """A compute cluster, and a flow of which each run takes a place on it until it is released."""

    def __init__(self, client: SyncPrefectClient, name: str, capacity: int, folder: Path) -> None:
        self.client, self.name, self.folder = client, name, folder
        save_compute(client, ComputeCluster(name=name, max_instances=capacity, idle_time_before_scale_down=0))
        (folder / "hold.py").write_text(FLOW)
        ensure_work_pool(client)
        self.deployment = client.create_deployment(
            flow_id=client.create_flow_from_name("hold"),
            name=name,
            entrypoint=f"{folder / 'hold.py'}:hold",
            pull_steps=[],  # with a path, Prefect would copy the folder to where the worker was started
            work_pool_name=WORK_POOL,
        )

    def start(self, instances: int = 1) -> UUID:
        parameters = {"compute": self.name, "folder": str(self.folder), "instances": instances}
        return self.client.create_flow_run_from_deployment(
            self.deployment, parameters=parameters, idempotency_key=str(uuid4())
        ).id

    def arrive(self, instances: int = 1) -> UUID:
        """A job that has been started and has put itself into the line, without the process that does so."""
        run = self.started_by_nobody(instances)
        with pytest.raises(Pause):
            self.place(run, instances)
        return run.id

    def started_by_nobody(self, instances: int = 1) -> FlowRun:
        """A job that Prefect takes for running."""
        parameters = {"compute": self.name, "folder": str(self.folder), "instances": instances}
        return self.client.create_flow_run_from_deployment(
            self.deployment, parameters=parameters, state=Running(), idempotency_key=str(uuid4())
        )

    def in_process(self) -> FlowRun:
        """The flow run of a job that no worker starts."""
        return self.client.create_flow_run(Flow(lambda: None, name="hold"), state=Running())

    def place(self, run: FlowRun, instances: int = 1, say: Callable[[str], None] = print) -> Place:
        with get_client(sync_client=True) as client:
            compute = find_compute(client, self.name)
            return take_place(client, compute, str(run.id), Shape(instances), run, say)

    def waiting(self) -> list[UUID]:
        """The line."""
        return [UUID(waiter.job) for waiter in ledger.read(self.client, self.name).line]

    def run(self, job: UUID) -> FlowRun:
        return self.client.read_flow_run(job)

    def states(self) -> dict[UUID, str]:
        """Of all its jobs."""
        mine = DeploymentFilter.model_validate({"id": {"any_": [self.deployment]}})
        return {run.id: run.state.name for run in self.client.read_flow_runs(deployment_filter=mine)}

    def count(self, state: str) -> int:
        return list(self.states().values()).count(state)

    def notes(self, what: str) -> list[dict[str, Any]]:
        log = self.folder / "log"
        found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [note for note in found if note["what"] == what]

    def started(self) -> list[UUID]:
        return [UUID(note["job"]) for note in self.notes("start")]

    def release(self) -> None:
        (self.folder / "release").touch()

    def is_empty(self) -> bool:
        held = ledger.read(self.client, self.name)
        return not held.holders and not held.line

    def most_at_once(self) -> int:
        """Instances held at once at most, by the times of the notes of jobs that ended by themselves."""
        ends = self.notes("end")
        ended = {note["job"] for note in ends}
        changes = [(note["at"], note["instances"]) for note in self.notes("start") if note["job"] in ended]
        changes += [(note["at"], -note["instances"]) for note in ends]
        held = most = 0
        for _, change in sorted(changes):
            held += change
            most = max(most, held)
        return most


@pytest.fixture
def queue(client: SyncPrefectClient, tmp_path: Path) -> Callable[[str, int], Queue]:
    return lambda name, capacity: Queue(client, f"line-{name}", capacity, tmp_path)


def test_twenty_jobs_on_two_instances(queue: Callable[[str, int], Queue]):
    line = queue("twenty", 2)
    for _ in range(5):
        line.start()
    until("three in the line", lambda: line.count("Queued") == 3)
    for _ in range(15):
        line.arrive()
    waiting = line.waiting()
    assert len(waiting) == line.count("Queued") == 18
    last = line.run(waiting[-1])
    assert last.state.message == (
        "Waits for compute 'line-twenty': 2 of 2 instances are in use, 17 jobs are before this one"
    )
    assert status_of(last) == "Queued"
    victim = line.notes("start")[0]
    os.kill(victim["pid"], signal.SIGKILL)
    until("a third job to start", lambda: len(line.started()) == 3)
    cancelled = waiting[9]
    jobs.cancel(line.client, line.run(cancelled))
    assert line.states()[cancelled] == "Cancelled"
    granted: list[UUID] = []

    def completed() -> int:
        held = [UUID(holder.job) for holder in ledger.read(line.client, line.name).holders]
        granted.extend(job for job in held if job in waiting and job not in granted)
        return line.count("Completed")

    assert completed() == 0
    line.release()
    for number in range(1, 19):
        until(f"{number} to complete", lambda number=number: completed() >= number)
    assert line.states()[UUID(victim["job"])] == "Crashed"
    assert granted == [job for job in waiting if job != cancelled], "somebody was passed"
    assert sorted(line.started()[2:]) == sorted(granted)
    assert line.most_at_once() == 2
    until("nobody in the ledger", line.is_empty)


def test_whoever_is_left_starts_by_itself(queue: Callable[[str, int], Queue]):
    """The only job with a place is killed: nobody looks after the line any more."""
    line = queue("alone", 1)
    line.start()
    until("a start", line.started)
    waiting = [line.arrive(), line.arrive()]
    os.kill(line.notes("start")[0]["pid"], signal.SIGKILL)
    until("the next", lambda: line.started()[1:] == waiting[:1])
    line.release()
    until("both to complete", lambda: line.count("Completed") == 2)
    assert line.started()[1:] == waiting


def test_jobs_of_one_process_wait_in_it(queue: Callable[[str, int], Queue]):
    line = queue("threads", 3)
    first, said = line.place(line.in_process(), 2), list[str]()
    assert (first.instances, first.waited, first.kept) == (2, 0.0, None)
    order: list[int] = []

    def wait(number: int, instances: int) -> None:
        with line.place(line.in_process(), instances, said.append):
            order.append(number)

    threads = [threading.Thread(target=wait, args=(number, 3 - number)) for number in range(3)]
    for number, thread in enumerate(threads):
        thread.start()
        until("its turn in the line", lambda number=number: len(line.waiting()) == number + 1)
    assert order == [], "one that would fit has passed one that does not"
    first.close()
    for thread in threads:
        thread.join(JOIN_SECONDS)
    assert order[0] == 0
    assert sorted(order) == [0, 1, 2]
    assert "Waits for compute 'line-threads': 2 of 3 instances are in use, this job is next" in said
    assert line.is_empty()


def test_a_place_that_was_taken_for_gone_is_taken_again(queue: Callable[[str, int], Queue]):
    line = queue("again", 1)
    run = line.in_process()
    with line.place(run):
        ledger.change(line.client, line.name, lambda held, _: held.leave(str(run.id)))
        until("the place again", lambda: ledger.read(line.client, line.name).holder(str(run.id)))
    assert line.is_empty()


def test_a_server_that_was_away(queue: Callable[[str, int], Queue], proxied: Callable[..., Any], server: LocalServer):
    """A job loses its place for that at most for a moment: it takes it again."""
    line, proxy = queue("away", 1), proxied(server.ui_url)
    run = line.in_process()
    with temporary_settings({PREFECT_API_URL: f"{proxy.url}/api"}):
        place = line.place(run)
    proxy.every["failed"] = 1
    until("failures", lambda: proxy.faults["failed"] >= 3)
    ledger.change(line.client, line.name, lambda held, _: held.leave(str(run.id)))
    proxy.every["failed"] = 0
    until("the place again", lambda: ledger.read(line.client, line.name).holder(str(run.id)))
    place.close()
    assert line.is_empty()


def test_a_cancelled_and_a_deleted_job_stand_in_nobodys_way(queue: Callable[[str, int], Queue]):
    line = queue("gone", 1)
    with line.place(line.in_process()):
        deleted, cancelled, last = line.arrive(), line.arrive(), line.arrive()
        line.client.delete_flow_run(deleted)
        jobs.cancel(line.client, line.run(cancelled))
        until("one in the line", lambda: line.waiting() == [last])
        first = line.run(last)
        until("the first in the line to be due soon", lambda: due_in(line.run(last)) < timedelta(minutes=1))
        assert line.run(last).expected_start_time == first.expected_start_time
    line.release()
    until("the last", lambda: line.states()[last] == "Completed")


def test_a_job_that_the_compute_has_become_too_small_for(queue: Callable[[str, int], Queue]):
    line = queue("shrunk", 2)
    with line.place(line.in_process(), 2):
        large, small = line.arrive(2), line.arrive(1)
        save_compute(line.client, ComputeCluster(name=line.name, max_instances=1))
        until("the large one to fail", lambda: line.states()[large] == "Failed")
        assert "instance_count: 2 is more than compute 'line-shrunk' has" in line.run(large).state.message
    line.release()
    until("the small one", lambda: line.states()[small] == "Completed")


def test_computes_without_a_bound_ask_nobody(client: SyncPrefectClient):
    with take_place(client, builtin_local(), "any", Shape(5), FlowRun(flow_id=uuid4()), fail) as place:
        assert (place.instances, place.waited, place.kept) == (5, 0.0, None)
    assert ledger.read(client, "local") == Ledger()


def test_a_job_that_is_put_into_the_line_leaves_nothing_here(queue: Callable[[str, int], Queue], tmp_path: Path):
    line = queue("leaves", 1)
    with line.place(line.in_process()):
        run = line.started_by_nobody()
        steps = {"one": {"type": "command", "component": {"type": "command", "command": "true"}}}
        job = make_job(str(tmp_path / "store"), str(run.id), steps)
        job.compute = find_compute(line.client, line.name)
        before = set(threading.enumerate())
        with pytest.raises(Pause), provisioned(line.client, job, Shape(1), run, print):
            fail("it has run")
        assert not {thread.name for thread in set(threading.enumerate()) - before} & {"place", "nodes", "cluster"}
        assert provision.current() is None
        assert not (tmp_path / "store" / "jobs" / str(run.id) / "usage").exists()
        assert line.waiting() == [run.id]
    line.release()
    until("its end", lambda: line.states()[run.id] == "Completed")


def test_writers_at_once_lose_nothing(server: object):
    """Each of four writers adds six jobs; no addition is lost or done twice, also where two read the same state."""

    def write(writer: int) -> None:
        with get_client(sync_client=True) as client:
            for number in range(6):
                ledger.change(client, "line-race", adding(f"{writer}-{number}"))

    def adding(job: str) -> ledger.Step:
        def step(held: Ledger, now: datetime) -> Ledger:
            more = Holder(job=job, instances=1, node_label="", since=now, until=now)
            return held.model_copy(update={"holders": [*held.holders, more]})

        return step

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_SECONDS)
    with get_client(sync_client=True) as client:
        held = [holder.job for holder in ledger.read(client, "line-race").holders]
        entries = list_all(ledger.ComputeLedger, client, compute="line-race")
    assert sorted(held) == sorted(f"{writer}-{number}" for writer in range(4) for number in range(6))
    assert [entry.number for entry in entries] == [24]


def test_no_state_is_left_where_another_has_removed_the_first(client: SyncPrefectClient):
    """Two writers read the same two states; the slower one finds the older of them gone, and removes the newer."""
    name = "line-left"
    for number in (1, 2):
        entry = ledger.ComputeLedger(compute=name, number=number, writers=[], ledger=Ledger())
        store.create(entry, f"{name}-{number}", client)

    def step(held: Ledger, now: datetime) -> Ledger:
        store.delete(ledger.ComputeLedger, f"{name}-1", client)
        return held.model_copy(update={"holders": [Holder(job="j", instances=1, node_label="", since=now, until=now)]})

    ledger.change(client, name, step)
    assert [entry.number for entry in list_all(ledger.ComputeLedger, client, compute=name)] == [3]


def test_jobs_of_endpoints(
    client: SyncPrefectClient,
    endpoints: Endpoints,
    script_deployment: Callable[..., Path],
    numbered_files: Callable[[int], Path],
    cli: Callable[..., Any],
    tmp_path: Path,
):
    """A job waits for another one's end; what its caller sees meanwhile, and that it can be cancelled."""
    save_compute(client, ComputeCluster(name="line-jobs", max_instances=1, idle_time_before_scale_down=0))
    release = tmp_path / "release"
    path = script_deployment(
        f"""
        while not os.path.exists({str(release)!r}):
            time.sleep(0.1)
        return [Path(p).name for p in mini_batch]
        """,
        compute="line-jobs",
        retry_settings="{timeout: 600}",
    )
    endpoints.deploy(path, "line-jobs")
    files = numbered_files(2)
    first = endpoints.invoke("line-jobs", files)
    endpoints.until(first, "a place", lambda _: ledger.read(client, "line-jobs").holder(str(first)))
    second = endpoints.invoke("line-jobs", files)
    endpoints.until(second, "the line", lambda run: run.state.name == "Queued")
    third = endpoints.invoke("line-jobs", files)
    endpoints.until(third, "the line", lambda run: run.state.name == "Queued")
    shown = json.loads(cli("job", "show", str(third), "-o", "json").stdout)
    assert shown["status"] == "Queued"
    assert shown["message"] == "Waits for compute 'line-jobs': 1 of 1 instances are in use, 1 job is before this one"
    cli("job", "cancel", str(third))
    assert endpoints.read(third).state.name == "Cancelled"
    release.touch()
    for job in (first, second):
        ended = endpoints.wait(job)
        assert (ended.state, len(ended.predictions.splitlines())) == ("Completed", 3), ended.message
    assert ended.summary["queued_seconds"] > 0
    assert endpoints.read(second).run_count == 2
    until("nobody in the ledger", lambda: not ledger.read(client, "line-jobs").jobs)
