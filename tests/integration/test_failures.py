"""What goes wrong in a scoring script, and how the job ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from endpoints import Endpoints
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, LogFilter

Write = Callable[..., Path]
Files = Callable[[int], Path]


def test_a_hang_costs_its_timeouts_and_one_file(endpoints: Endpoints, script_deployment: Write, numbered_files: Files):
    run = """
    if "item-00003" in mini_batch[0]:
        time.sleep(600)
    return [Path(p).name for p in mini_batch]
    """
    retry = "{timeout: 2, max_retries: 2}"
    endpoints.deploy(script_deployment(run, mini_batch_size=1, retry_settings=retry), "hang")
    started = time.monotonic()
    ended = endpoints.run("hang", numbered_files(6))
    assert ended.state == "Completed"
    assert (ended.summary["succeeded"], ended.summary["failed"]) == (5, 1)
    (error,) = ended.errors
    assert error["item"] == "item-00003.txt"
    assert (error["error_type"], error["attempt"]) == ("RunTimedOut", 2)
    assert "retry_settings.timeout = 2 s" in error["message"]
    assert 4 <= ended.summary["seconds"]["score"] < 60  # not the ten minutes that it would take
    assert time.monotonic() - started < 30


def test_os_exit_is_the_mini_batch_failing(endpoints: Endpoints, script_deployment: Write, numbered_files: Files):
    run = """
    if "item-00001" in mini_batch[0]:
        os._exit(7)
    return [Path(p).name for p in mini_batch]
    """
    endpoints.deploy(script_deployment(run, mini_batch_size=1), "dies")
    ended = endpoints.run("dies", numbered_files(4))
    assert ended.state == "Completed"
    assert [(e["item"], e["error_type"], e["attempt"]) for e in ended.errors] == [("item-00001.txt", "ProcessDied", 3)]
    assert "exited with code 7" in ended.errors[0]["message"]
    assert ended.predictions.decode().splitlines() == [
        "prediction",
        "item-00000.txt",
        "item-00002.txt",
        "item-00003.txt",
    ]


def test_init_that_raises_ends_the_job(endpoints: Endpoints, script_deployment: Write, numbered_files: Files):
    path = script_deployment("return mini_batch", init="raise ValueError('no such weights')", mini_batch_size=1)
    endpoints.deploy(path, "init")
    ended = endpoints.run("init", numbered_files(4))
    assert ended.state == "Failed"
    assert "init() failed: ValueError: no such weights" in ended.message
    assert (ended.summary["succeeded"], ended.summary["items"]) == (0, 4)
    assert not (ended.output / "predictions.csv").exists()
    assert ended.summary["seconds"]["total"] < 20


def test_none_is_named(endpoints: Endpoints, script_deployment: Write, numbered_files: Files):
    endpoints.deploy(script_deployment("return None", mini_batch_size=2), "none")
    ended = endpoints.run("none", numbered_files(3))
    assert ended.state == "Failed"
    assert "nothing was scored: all 3 files failed" in ended.message
    assert "run() returned NoneType" in ended.message
    assert [e["item"] for e in ended.errors] == ["item-00000.txt", "item-00001.txt", "item-00002.txt"]


@pytest.mark.parametrize(
    ("threshold", "state"), [(2, "Failed"), (3, "Completed"), ("10%", "Failed"), ("50%", "Completed")]
)
def test_threshold(
    endpoints: Endpoints, script_deployment: Write, numbered_files: Files, threshold: int | str, state: str
):
    run = """
    if int(Path(mini_batch[0]).read_text()) % 4 == 0:
        raise ValueError("a multiple of four")
    return [1 for _ in mini_batch]
    """
    retry = "{max_retries: 1}"
    endpoints.deploy(script_deployment(run, mini_batch_size=1, retry_settings=retry), "threshold")
    ended = endpoints.run("threshold", numbered_files(12), settings={"error_threshold": threshold})
    assert ended.state == state
    if state == "Failed":
        assert f"error_threshold allows {threshold}" in ended.message
        assert "ValueError: a multiple of four" in ended.message
        assert not (ended.output / "predictions.csv").exists()
    else:
        assert len(ended.predictions.splitlines()) == 1 + 9


def test_a_passed_threshold_stops_the_rest(endpoints: Endpoints, script_deployment: Write, numbered_files: Files):
    run = """
    if "item-00000" in mini_batch[0]:
        raise ValueError("the first")
    time.sleep(0.5)
    return [1 for _ in mini_batch]
    """
    endpoints.deploy(script_deployment(run, mini_batch_size=1, retry_settings="{max_retries: 1}"), "stops")
    ended = endpoints.run("stops", numbered_files(60), settings={"error_threshold": 0})
    assert ended.state == "Failed"
    assert ended.summary["seconds"]["score"] < 30  # all sixty would take that
    assert ended.summary["succeeded"] + ended.summary["failed"] < 60
    with get_client(sync_client=True) as client:
        parent = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [ended.id]}})
        below = [run.id for run in client.read_flow_runs(flow_run_filter=parent)]
        logs = client.read_logs(LogFilter.model_validate({"flow_run_id": {"any_": [ended.id, *below]}}))
    assert below and not [log.message for log in logs if "Traceback" in log.message]


def test_zero_successes_fail_whatever_the_threshold(
    endpoints: Endpoints, script_deployment: Write, numbered_files: Files
):
    path = script_deployment("raise RuntimeError('always')", mini_batch_size=5, output_action="summary_only")
    endpoints.deploy(path, "zero")
    ended = endpoints.run("zero", numbered_files(5))
    assert (ended.state, ended.summary["failed"]) == ("Failed", 5)


def test_no_orphans_after_jobs(endpoints: Endpoints, script_deployment: Write, numbered_files: Files, tmp_path: Path):
    pids = tmp_path / "pids"
    pids.mkdir()
    run = f"""
    Path({str(pids)!r}, str(os.getpid())).touch()
    return [1 for _ in mini_batch]
    """
    endpoints.deploy(script_deployment(run, mini_batch_size=1, max_concurrency_per_instance=2), "orphans")
    assert endpoints.run("orphans", numbered_files(8)).state == "Completed"
    seen = [int(path.name) for path in pids.iterdir()]
    assert seen
    assert not [pid for pid in seen if Path(f"/proc/{pid}").exists()]
