"""Processes that are killed, stopped or told to end at random moments of a job."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable, Generator
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from prefect_batch.blocks.compute import ComputeCluster, save_compute
from prefect_batch.flows import jobs
from prefect_batch.scoring.errors import BatchError

from .cases import FILES, LONG, SECONDS_A_FILE, check, deploy, files, some, trial
from .world import World, kill

SPAN = FILES * SECONDS_A_FILE / 2
"""Seconds that scoring takes."""
TRIES = 5
"""Jobs until one is still there when its turn has come."""
DOWN = 10.0
"""Seconds for which a server that was killed is away."""
STILL = 60.0 if LONG else 5.0
"""Seconds for which a stopped process stands still."""


@pytest.fixture(scope="module")
def endpoint(world: World) -> str:
    return deploy(world, "killed")


def started(world: World, endpoint: str) -> UUID:
    """A job that runs."""
    job = world.invoke(endpoint, files(world))
    world.until(job, "Running", lambda run: run.state and (run.state.is_running() or run.state.is_final()))
    return job


def hit(world: World, endpoint: str, dice: random.Random, blow: Callable[[], bool], role: str | None = None) -> UUID:
    """A job that was hit at a random moment from its start on, or from when there is one of a role.

    The blow says whether it met with anything.
    """
    for _ in range(TRIES):
        job = started(world, endpoint)
        if role is not None:
            world.until_some(role)
        time.sleep(dice.uniform(0.0, SPAN))
        if blow():
            return job
        world.wait(job)
    pytest.fail("no job was still there to be hit")


def kill_all(victims: list[psutil.Process]) -> bool:
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return bool(victims)


@pytest.mark.parametrize("role", ["scoring process", "Dask worker", "flow"])
def test_one_is_killed(world: World, endpoint: str, rounds: range, role: str) -> None:
    for seed in rounds:
        dice = random.Random(f"{role} {seed}")

        def blow(dice: random.Random = dice) -> bool:
            found = world.processes(role)
            return kill_all(dice.sample(found, min(1, len(found))))

        with trial(world, "Kills", f"SIGKILL of one {role}", seed) as found:
            check(world, hit(world, endpoint, dice, blow, role), found)


@pytest.mark.parametrize(
    ("role", "all_of_it"), [("scoring process", "scoring processes"), ("Dask worker", "Dask workers")]
)
def test_all_are_killed(world: World, rounds: range, role: str, all_of_it: str) -> None:
    endpoint = deploy(world, f"all-killed-{role[0].lower()}", instance_count=2)
    for seed in rounds:
        dice = random.Random(f"all {role} {seed}")
        with trial(world, "Kills", f"SIGKILL of all of a job's {all_of_it} at once", seed) as found:
            check(world, hit(world, endpoint, dice, lambda: kill_all(world.processes(role)), role), found)


def test_the_scheduler_is_killed(world: World, rounds: range) -> None:
    """Of a cluster that is kept, which has a process of its own; any other goes with its flow."""
    compute = ComputeCluster(name="kept-for-long", max_instances=2, idle_time_before_scale_down=5)
    with get_client(sync_client=True) as client:
        save_compute(client, compute)
    endpoint = deploy(world, "on-a-kept-cluster", compute=compute.name)
    for seed in rounds:
        dice = random.Random(f"scheduler {seed}")
        with trial(world, "Kills", "SIGKILL of the Dask scheduler", seed) as found:
            job = hit(world, endpoint, dice, lambda: kill_all(world.processes("scheduler")), "scheduler")
            check(world, job, found)


def test_the_worker_is_killed(world: World, endpoint: str, rounds: range) -> None:
    for seed in rounds:
        with trial(world, "Kills", "SIGKILL of the Prefect worker, and another is started", seed) as found:
            job = hit(world, endpoint, random.Random(f"worker {seed}"), lambda: kill(world.local.worker) or True)
            world.start_worker()
            assert check(world, job, found).state == "Completed" and found.resumed == 0


def test_the_server_is_killed(world: World, endpoint: str, rounds: range) -> None:
    for seed in rounds:
        with trial(world, "Kills", f"SIGKILL of the Prefect server, started again {DOWN:g} s later", seed) as found:
            job = hit(world, endpoint, random.Random(f"server {seed}"), lambda: kill(world.local.server) or True)
            time.sleep(DOWN)
            world.local.start_server()
            check(world, job, found)


@contextlib.contextmanager
def stopped(process: psutil.Process) -> Generator[None]:
    process.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


@pytest.mark.parametrize("role", some(["scoring process", "Dask worker", "flow"], "Dask worker"))
def test_one_stands_still(world: World, endpoint: str, few: range, role: str) -> None:
    for seed in few:
        dice = random.Random(f"still {role} {seed}")
        with trial(world, "Stops", f"SIGSTOP of one {role} for {STILL:g} s", seed) as found:
            job = started(world, endpoint)
            with stopped(world.any_of(role, dice)):
                time.sleep(STILL)
            check(world, job, found)


def test_server_and_worker_stand_still(world: World, endpoint: str, few: range) -> None:
    for seed in few:
        for name, process in (("server", world.local.server), ("worker", world.local.worker)):
            assert process is not None
            with trial(world, "Stops", f"SIGSTOP of the Prefect {name} for {STILL:g} s", seed) as found:
                job = started(world, endpoint)
                with stopped(psutil.Process(process.pid)):
                    time.sleep(STILL)
                check(world, job, found)


PHASES: dict[str, Callable[[World, FlowRun], object]] = {
    "before it starts": lambda world, run: True,
    "while it starts": lambda world, run: run.state is not None and run.state.is_running(),
    "while its cluster starts": lambda world, run: world.processes("Dask worker"),
    "while it scores": lambda world, run: world.parts(run.id) >= 3,
    "near its end": lambda world, run: world.parts(run.id) >= FILES - 1,
}
"""When a job is cancelled: as soon as this is so."""


@pytest.mark.parametrize("phase", some(PHASES, "while its cluster starts", "while it scores"))
def test_it_is_cancelled(world: World, endpoint: str, few: range, phase: str) -> None:
    for seed in few:
        with trial(world, "Cancellations", f"cancelled {phase}", seed) as found:
            job = world.invoke(endpoint, files(world))
            world.until(job, phase, lambda run: PHASES[phase](world, run) or (run.state and run.state.is_final()))
            with get_client(sync_client=True) as client, contextlib.suppress(BatchError):  # it was faster
                jobs.cancel(client, client.read_flow_run(job))
            check(world, job, found)


def test_it_is_cancelled_when_its_worker_was_killed(world: World, few: range) -> None:
    """It went on, and another worker ends it."""
    slow = deploy(world, "without-its-worker", seconds=2.0)
    for seed in few:
        with trial(world, "Cancellations", "cancelled after its worker was killed and another started", seed) as found:
            job = started(world, slow)
            world.until_some("scoring process")
            kill(world.local.worker)
            world.start_worker()
            with get_client(sync_client=True) as client:
                jobs.cancel(client, client.read_flow_run(job))
            assert world.until(job, "its end", lambda run: run.state and run.state.is_cancelled())
            assert check(world, job, found).state == "Completed" and found.resumed == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_watches_is_told_to_end(world: World, endpoint: str, few: range, number: signal.Signals) -> None:
    """The job is not the command's: it goes on."""
    for seed in few:
        with trial(world, "Commands", f"{number.name} of a command that watches a job", seed) as found:
            job = started(world, endpoint)
            command = world.command("job", "stream", str(job))
            assert command.stdout is not None and command.stdout.readline()
            time.sleep(random.Random(seed).uniform(0.0, SPAN))
            command.send_signal(number)
            said, _ = command.communicate(timeout=60)
            assert "Traceback" not in said
            assert check(world, job, found).state == "Completed" and found.resumed == 0
