"""Workers and flows that die, are cancelled and come back: the same bytes, nothing scored twice that was committed."""

from __future__ import annotations

import collections
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from endpoints import Endpoints, open_task_runs
from prefect.client.orchestration import get_client
from prefect.states import AwaitingRetry, Crashed

from prefect_batch.flows import jobs

FILES = 40
Cli = Callable[..., object]


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A log with a line for each item each time that it was scored."""
    return tmp_path / "scored.log"


@pytest.fixture
def slow(
    endpoints: Endpoints, script_deployment: Callable[..., Path], scored: Path, request: pytest.FixtureRequest
) -> str:
    """An endpoint whose script takes 0.2 s a file."""
    run = f"""
    time.sleep(0.2)
    with open({str(scored)!r}, "a") as log:
        log.writelines(Path(p).name + "\\n" for p in mini_batch)
    return [Path(p).name for p in mini_batch]
    """
    name = f"slow-{request.node.name.replace('_', '-')}"[:32].rstrip("-")
    endpoints.deploy(script_deployment(run, mini_batch_size=1, max_concurrency_per_instance=2), name)
    return name


EXPECTED = "".join(["prediction\n", *(f"item-{n:05d}.txt\n" for n in range(FILES))]).encode()


def parts(folder: Path) -> int:
    return len(list((folder / "parts").rglob("*.part")))


def committed_items(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in (folder / "parts").rglob("*.part"):
        head = json.loads(path.read_bytes().split(b"\n")[0])
        names |= {f"item-{entry['mini_batch']:05d}.txt" for entry in head["mini_batches"]}
    return names


def run_pid(folder: Path, run: int) -> int:
    return json.loads((folder / "runs" / f"{run:03d}.json").read_text())["pid"]


def scoring_worker_pids(folder: Path) -> list[int]:
    return [int(path.name.rsplit("-", 1)[1]) for path in (folder / "logs").iterdir()]


def test_killed_dask_worker(endpoints: Endpoints, slow: str, numbered_files: Callable[[int], Path], scored: Path):
    job = endpoints.invoke(slow, numbered_files(FILES))
    folder = endpoints.folder(job)
    endpoints.until(job, "ten parts", lambda _: parts(folder) >= 10)
    (pid,) = scoring_worker_pids(folder)
    os.kill(pid, signal.SIGKILL)
    before = committed_items(folder)
    ended = endpoints.wait(job)
    assert (ended.state, ended.predictions) == ("Completed", EXPECTED)
    assert len(scoring_worker_pids(folder)) == 2, "the worker was not replaced: the test killed nothing"
    times = collections.Counter(scored.read_text().split())
    assert {name: times[name] for name in before} == dict.fromkeys(before, 1)


def test_killed_flow_is_resumed(
    endpoints: Endpoints, slow: str, numbered_files: Callable[[int], Path], scored: Path, cli: Cli
):
    job = endpoints.invoke(slow, numbered_files(FILES))
    folder = endpoints.folder(job)
    endpoints.until(job, "ten parts", lambda _: parts(folder) >= 10)
    os.kill(run_pid(folder, 1), signal.SIGKILL)
    endpoints.until(job, "Crashed", lambda run: run.state and run.state.is_crashed())
    worker_pids = scoring_worker_pids(folder)
    endpoints.until(job, "no workers", lambda _: not any(Path(f"/proc/{pid}").exists() for pid in worker_pids))
    before = committed_items(folder)
    assert 10 <= len(before) < FILES
    cli("job", "resume", str(job))
    ended = endpoints.wait(job)
    assert (ended.state, ended.predictions) == ("Completed", EXPECTED)
    assert ended.summary["runs"] == 2
    times = collections.Counter(scored.read_text().split())
    assert {name: times[name] for name in before} == dict.fromkeys(before, 1)
    assert open_task_runs(job) == []


def test_cancelled_and_resumed(endpoints: Endpoints, slow: str, numbered_files: Callable[[int], Path], cli: Cli):
    job = endpoints.invoke(slow, numbered_files(FILES))
    folder = endpoints.folder(job)
    endpoints.until(job, "five parts", lambda _: parts(folder) >= 5)
    with get_client(sync_client=True) as client:  # a process of its own may take longer to start than the job
        jobs.cancel(client, endpoints.read(job))
    endpoints.until(job, "Cancelled", lambda run: run.state and run.state.is_cancelled())
    pids = [*scoring_worker_pids(folder), run_pid(folder, 1)]
    endpoints.until(job, "no processes", lambda _: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    before = parts(folder)
    cli("job", "resume", str(job))
    ended = endpoints.wait(job)
    assert (ended.state, ended.predictions) == ("Completed", EXPECTED)
    assert before < FILES


def test_killed_between_output_and_summary(
    endpoints: Endpoints, script_deployment: Callable[..., Path], numbered_files: Callable[[int], Path], cli: Cli
):
    """The output of the killed run is known as the job's own by its claim, and a completed job is not run again."""
    endpoints.deploy(script_deployment("return [1 for _ in mini_batch]"), "late-kill")
    job = endpoints.invoke("late-kill", numbered_files(3))
    first = endpoints.wait(job)
    (first.folder / "summary.json").unlink()
    (first.output / ".predictions.csv.job").write_text(str(job))
    (first.output / "predictions.csv").write_text("half of it")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(job, Crashed(), force=True)
    cli("job", "resume", str(job))
    endpoints.until(job, "a second run", lambda run: run.run_count >= 2 or None)
    ended = endpoints.wait(job)
    assert (ended.state, ended.predictions, ended.summary["runs"]) == ("Completed", b"prediction\n1\n1\n1\n", 2)
    assert [path.name for path in ended.output.iterdir()] == ["predictions.csv"]
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(job, AwaitingRetry(), force=True)  # what the UI's Retry button does
    endpoints.until(job, "a third run", lambda run: run.run_count >= 3 or None)
    assert (endpoints.wait(job).state, ended.summary["runs"]) == ("Completed", 2)


def test_a_failed_job_tries_its_failures_again(
    endpoints: Endpoints, script_deployment: Callable[..., Path], numbered_files: Callable[[int], Path], tmp_path: Path
):
    mended = tmp_path / "mended"
    run = f"""
    if "item-00002" in mini_batch[0] and not os.path.exists({str(mended)!r}):
        raise ValueError("not yet")
    return [Path(p).name for p in mini_batch]
    """
    retry = "{max_retries: 1}"
    path = script_deployment(run, mini_batch_size=1, retry_settings=retry, error_threshold=0)
    endpoints.deploy(path, "again")
    job = endpoints.invoke("again", numbered_files(5))
    assert endpoints.wait(job).state == "Failed"
    mended.touch()
    with get_client(sync_client=True) as client:
        jobs.resume(client, client.read_flow_run(job))
    endpoints.until(job, "a second run", lambda run: run.run_count >= 2 or None)
    ended = endpoints.wait(job)
    assert (ended.state, ended.summary["failed"], ended.errors) == ("Completed", 0, [])
