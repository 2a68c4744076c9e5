"""Graphs of steps on the real server and on Dask: what runs at once, what fails, dies, is cancelled and comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from endpoints import Ended, Endpoints, open_task_runs, task_runs, until
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.states import AwaitingRetry
from processes import is_running, parent

from prefect_batch.blocks.component import PipelineComponent
from prefect_batch.blocks.pipeline_deployment import PipelineDeployment
from prefect_batch.blocks.pipeline_settings import PipelineSettings
from prefect_batch.flows import jobs, stand_alone

Make = Callable[..., str]

TOOL = Path(__file__).with_name("step_tool.py")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that steps and the test share."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def tool(place: Path) -> Callable[..., dict[str, Any]]:
    """Makes a step that runs a word of the tool. `after` names steps whose `out` it takes as its last arguments."""

    def make(
        word: str, *arguments: str, after: tuple[str, ...] = (), out: str | None = None, **keys: Any
    ) -> dict[str, Any]:
        words = ["python", str(TOOL), word, str(place), *arguments]
        outputs: dict[str, Any] = {}
        if out is not None:
            words.append("${{outputs.out}}")
            outputs = {"out": out or None}
        words += [f"${{{{inputs.from_{name}}}}}" for name in after]
        component = {
            "type": "command",
            "command": " ".join(words),
            "inputs": {f"from_{name}": {"type": "uri_folder"} for name in after},
            "outputs": {name: {"type": "uri_folder"} for name in outputs},
        }
        inputs = {f"from_{name}": f"${{{{parent.jobs.{name}.outputs.out}}}}" for name in after}
        return {"type": "command", "component": component, "inputs": inputs, "outputs": outputs, **keys}

    return make


@pytest.fixture
def graph(endpoints: Endpoints, tmp_path: Path, request: pytest.FixtureRequest) -> Make:
    """Deploys a pipeline of steps behind an endpoint of the test's own; returns the endpoint's name."""

    def make(steps: dict[str, Any], outputs: tuple[str, ...] = (), **settings: Any) -> str:
        name = request.node.name.replace("_", "-").replace("[", "-").replace("]", "").removeprefix("test-")
        endpoint = name[:32].strip("-").lower()
        document = {
            "name": "graph",
            "endpoint_name": "unused",
            "type": "pipeline",
            "component": {"type": "pipeline", "outputs": dict.fromkeys(outputs), "jobs": steps},
            "settings": settings,
        }
        path = tmp_path / "deployment.yml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        endpoints.deploy(path, endpoint)
        return endpoint

    return make


def final_rows(endpoints: Endpoints, job: str, count: int) -> dict[str, TaskRun]:
    """By name, once so many have ended."""

    def ended(_: FlowRun) -> list[TaskRun] | None:
        found = task_runs(job)
        return found if len(found) >= count and all(row.state and row.state.is_final() for row in found) else None

    found = endpoints.until(UUID(job), f"{count} task runs that have ended", ended)
    assert len(found) == count
    return {row.name: row for row in found}


def log_of(endpoints: Endpoints, job: str, row: TaskRun, line: str) -> list[str]:
    """The messages in the log of one task run, once a line is among them."""

    def told(_: FlowRun) -> list[str] | None:
        with get_client(sync_client=True) as client:
            logs = client.read_logs(LogFilter.model_validate({"task_run_id": {"any_": [row.id]}}))
        messages = [log.message for log in logs]
        return messages if any(line in message for message in messages) else None

    return endpoints.until(UUID(job), f"{line!r} in the log of {row.name}", told)


def upstream(row: TaskRun) -> set[UUID]:
    return {found.id for inputs in row.task_inputs.values() for found in inputs if hasattr(found, "id")}  # pyright: ignore


def states(ended: Ended) -> dict[str, str]:
    return {step["name"]: step["state"] for step in ended.summary["steps"]}


def pids(place: Path) -> list[list[int]]:
    """Of each time that `hold` was started: itself and its child."""
    path = place / "pids"
    lines = path.read_text().splitlines() if path.exists() else []
    return [[int(pid) for pid in line.split()] for line in lines if len(line.split()) == 2]


def test_a_diamond_of_which_two_run_at_once(endpoints: Endpoints, graph: Make, tool: Any):
    steps = {
        "first": tool("count", "a", out=""),
        "left": tool("meet", "left", "right", after=("first",), out=""),
        "right": tool("meet", "right", "left", after=("first",), out=""),
        "last": tool("join", after=("left", "right"), out="${{parent.outputs.joined}}"),
    }
    ended = endpoints.call(graph(steps, ("joined",)))
    place = ended.summary["outputs"]["joined"]
    assert (ended.state, ended.message) == ("Completed", f"4 steps completed; joined in {place}")
    assert Path(ended.summary["outputs"]["joined"], "out.txt").read_text() == "left+right"
    found = final_rows(endpoints, ended.id, 4)
    assert {name: row.state.name for name, row in found.items() if row.state} == dict.fromkeys(steps, "Completed")
    assert upstream(found["first"]) == set()
    assert upstream(found["left"]) == upstream(found["right"]) == {found["first"].id}
    assert upstream(found["last"]) == {found["left"].id, found["right"].id}
    assert any("left met right" in line for line in log_of(endpoints, ended.id, found["left"], "left met right"))
    assert not any("left met" in line for line in log_of(endpoints, ended.id, found["right"], "right met left"))


def test_hello_without_inputs_and_outputs(endpoints: Endpoints, graph: Make):
    hello = {"component": {"type": "command", "command": "echo 'hello world'"}}
    ended = endpoints.call(graph({"hello": hello}))
    assert (ended.state, ended.message, ended.summary["outputs"]) == ("Completed", "1 step completed", {})
    row = final_rows(endpoints, ended.id, 1)["hello"]
    log_of(endpoints, ended.id, row, "hello world")


def test_after_a_failure_independent_steps_go_on(endpoints: Endpoints, graph: Make, tool: Any):
    bad = tool("fail")
    bad["component"]["outputs"] = {"out": {"type": "uri_folder"}}
    steps = {
        "bad": bad,
        "behind": tool("join", after=("bad",), out=""),
        "apart": tool("count", "apart", out=""),
        "after": tool("join", after=("apart",), out=""),
    }
    ended = endpoints.call(graph(steps, continue_on_step_failure=True))
    assert ended.state == "Failed"
    assert ended.message.startswith("step 'bad' failed: exited with code 3")
    assert ended.message.splitlines()[-20:] == [f"line {number}" for number in range(10, 30)]
    assert states(ended) == {"bad": "Failed", "behind": "NotRun", "apart": "Completed", "after": "Completed"}
    found = final_rows(endpoints, ended.id, 3)
    assert found["bad"].state is not None
    assert (found["bad"].state.name, found["bad"].state.message) == ("Failed", ended.message.split(": ", 1)[1])


def test_after_a_failure_running_steps_are_cancelled(endpoints: Endpoints, graph: Make, tool: Any, place: Path):
    steps = {"bad": tool("fail", "then", "pids"), "long": tool("hold"), "more": tool("hold")}
    ended = endpoints.call(graph(steps, continue_on_step_failure=False))
    assert ended.state == "Failed"
    assert ended.message.startswith("step 'bad' failed: exited with code 3")
    assert states(ended) == {"bad": "Failed", "long": "Cancelled", "more": "Cancelled"}
    assert pids(place)
    assert not any(is_running(pid) for started in pids(place) for pid in started)
    found = final_rows(endpoints, ended.id, 3)
    assert {name: row.state.name for name, row in found.items() if row.state} == states(ended)


def test_killed_commands_are_tried_as_their_retry_settings_say(endpoints: Endpoints, graph: Make, place: Path):
    again = f"mkdir {place}/tried || exit 0; sleep 600 & echo $! > {place}/child; kill -9 $$"
    steps = {
        "again": {"component": {"type": "command", "command": again}},
        "once": {
            "component": {"type": "command", "command": f"echo x >> {place}/once; kill -9 $$"},
            "retry_settings": {"max_retries": 1},
        },
    }
    ended = endpoints.call(graph(steps))
    assert ended.state == "Failed"
    assert ended.message.startswith("step 'once' failed: was killed by SIGKILL")
    assert states(ended) == {"again": "Completed", "once": "Failed"}
    assert [step["attempts"] for step in ended.summary["steps"]] == [2, 1]
    assert (place / "once").read_text() == "x\n"
    assert not is_running(int((place / "child").read_text()))


def test_a_killed_dask_worker(endpoints: Endpoints, graph: Make, tool: Any, place: Path):
    steps = {"first": tool("count", "first", out=""), "long": tool("hold", after=("first",))}
    job = endpoints.start(graph(steps))
    started = endpoints.until(job, "a running step", lambda _: pids(place))[0]
    guard = parent(started[0])
    os.kill(parent(guard), signal.SIGKILL)
    endpoints.until(job, "no process of the lost attempt", lambda _: not any(map(is_running, [guard, *started])))
    endpoints.until(job, "a second attempt", lambda _: len(pids(place)) == 2)
    (place / "go").touch()
    ended = endpoints.wait(job)
    assert (ended.state, states(ended)) == ("Completed", {"first": "Completed", "long": "Completed"})
    assert ended.summary["steps"][1]["attempts"] == 2
    assert (place / "ran").read_text() == "first\n", "what had completed ran again"

    def ends(_: FlowRun) -> bool:
        found = sorted((row.name, row.state.name) for row in task_runs(job) if row.state and row.state.name)
        return found == [("first", "Completed"), ("long", "Completed"), ("long", "Crashed")]

    endpoints.until(job, "a row for each attempt", ends)


def test_resume_runs_what_is_missing(endpoints: Endpoints, graph: Make, tool: Any, place: Path):
    steps = {
        "first": tool("count", "first", out=""),
        "second": tool("needs", "mended", after=("first",), out=""),
        "third": tool("count", "third", out="${{parent.outputs.whole}}", after=("second",)),
        "apart": tool("count", "apart"),
    }
    job = endpoints.start(graph(steps, ("whole",), continue_on_step_failure=True))
    ended = endpoints.wait(job)
    assert states(ended) == {"first": "Completed", "second": "Failed", "third": "NotRun", "apart": "Completed"}
    assert "no mended" in ended.message
    assert ended.summary["outputs"] == {}
    (place / "mended").touch()
    with get_client(sync_client=True) as client:
        jobs.resume(client, client.read_flow_run(job))
    endpoints.until(job, "a second run", lambda run: run.run_count >= 2)
    ended = endpoints.wait(job)
    assert (ended.state, ended.summary["runs"]) == ("Completed", 2)
    assert set(states(ended).values()) == {"Completed"}
    assert sorted((place / "ran").read_text().split()) == ["apart", "first", "mended", "mended", "third"]
    assert Path(ended.summary["outputs"]["whole"], "out.txt").read_text() == "third"


def test_a_killed_flow_is_resumed(endpoints: Endpoints, graph: Make, tool: Any, place: Path):
    steps = {"first": tool("count", "first", out=""), "long": tool("hold", after=("first",))}
    job = endpoints.start(graph(steps))
    started = endpoints.until(job, "a running step", lambda _: pids(place))[0]
    os.kill(endpoints.flow_pid(job), signal.SIGKILL)
    endpoints.until(job, "Crashed", lambda run: run.state and run.state.is_crashed())
    endpoints.until(job, "no process", lambda _: not any(map(is_running, started)))
    (place / "go").touch()
    with get_client(sync_client=True) as client:
        jobs.resume(client, client.read_flow_run(job))
    endpoints.until(job, "a second run", lambda run: run.run_count >= 2)
    ended = endpoints.wait(job)
    assert (ended.state, ended.summary["runs"]) == ("Completed", 2)
    assert (place / "ran").read_text() == "first\n"
    until("no open task run", lambda: not open_task_runs(job))


def test_a_cancelled_job_leaves_no_process(endpoints: Endpoints, graph: Make, tool: Any, place: Path):
    job = endpoints.start(graph({"long": tool("hold"), "more": tool("hold"), "behind": tool("count", "x")}))
    started = endpoints.until(job, "two running steps", lambda _: len(pids(place)) == 2 and pids(place))
    guards = [parent(pid) for pid, _ in started]
    workers = [parent(guard) for guard in guards]
    with get_client(sync_client=True) as client:
        jobs.cancel(client, client.read_flow_run(job))
    endpoints.until(job, "Cancelled", lambda run: run.state and run.state.is_cancelled())
    of_the_job = [*guards, *workers, endpoints.flow_pid(job), *(pid for pair in started for pid in pair)]
    endpoints.until(job, "no process", lambda _: not any(map(is_running, of_the_job)))


def test_reuse_and_force_rerun(endpoints: Endpoints, graph: Make, tool: Any, place: Path):
    steps = {
        "first": tool("count", "first", out=""),
        "second": tool("count", "second", out="${{parent.outputs.whole}}", after=("first",)),
    }
    endpoint = graph(steps, ("whole",))
    earlier = endpoints.call(endpoint)
    assert (earlier.state, [step["reused_from"] for step in earlier.summary["steps"]]) == ("Completed", [None, None])
    again = endpoints.call(endpoint)
    assert again.message.startswith("2 steps completed, 2 of them reused; whole in ")
    assert {step["reused_from"] for step in again.summary["steps"]} == {earlier.id}
    assert Path(again.summary["outputs"]["whole"], "out.txt").read_text() == "second"
    assert (place / "ran").read_text().split() == ["first", "second"]
    forced = endpoints.call(endpoint, settings={"force_rerun": True})
    assert forced.message.startswith("2 steps completed; whole in ")
    assert (place / "ran").read_text().split() == ["first", "second"] * 2
    assert forced.summary["outputs"] != earlier.summary["outputs"]


def test_a_stand_alone_job(endpoints: Endpoints, tool: Any, place: Path):
    graph = PipelineComponent.model_validate({"jobs": {"first": tool("needs", "mended", out="")}})
    deployment = PipelineDeployment(
        name="alone",
        endpoint_name="unused",
        graph=graph,
        interface=graph.interface,
        settings=PipelineSettings(continue_on_step_failure=False),
    )
    with get_client(sync_client=True) as client:
        job = stand_alone.submit(client, deployment, {}, {}, "a job of its own").id
    ended = endpoints.wait(job)
    assert (ended.state, ended.record["endpoint"]) == ("Failed", None)
    assert ended.message.startswith("step 'first' failed")
    (place / "mended").touch()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(job, AwaitingRetry(), force=True)  # what the UI's Retry button does
        assert client.read_flow_run(job).name == "a job of its own"
    endpoints.until(job, "a second run", lambda run: run.run_count >= 2)
    assert endpoints.wait(job).state == "Completed"


def test_jobs_on_workers_that_others_use_too(
    endpoints: Endpoints, graph: Make, tool: Any, place: Path, cli: Callable[..., Any], tmp_path: Path
):
    """A running Dask cluster: its workers outlive jobs, and its scheduler starts again what died with one."""
    from distributed import LocalCluster

    other = tmp_path / "other"
    other.mkdir()
    hold = tool("hold", out="")
    hold["component"]["command"] = f"python {TOOL} hold {other}"
    with LocalCluster(n_workers=2, threads_per_worker=4, dashboard_address=":0") as cluster:
        cli("compute", "create", "shared", "--type", "address", "--address", cluster.scheduler_address)
        settings = {"default_compute": "shared", "continue_on_step_failure": False}
        job = endpoints.start(graph({"long": hold}, **settings))
        (first,) = endpoints.until(job, "a running step", lambda _: pids(other))
        ended = endpoints.call(graph({"bad": tool("fail", "then", "pids"), "long": tool("hold")}, **settings))
        assert (ended.state, states(ended)) == ("Failed", {"bad": "Failed", "long": "Cancelled"})
        assert not any(is_running(pid) for started in pids(place) for pid in started)
        assert all(map(is_running, first)), "a step of another job was stopped"

        os.kill(endpoints.flow_pid(job), signal.SIGKILL)
        endpoints.until(job, "Crashed", lambda run: run.state and run.state.is_crashed())
        with get_client(sync_client=True) as client:
            jobs.resume(client, client.read_flow_run(job))
        endpoints.until(job, "a second attempt", lambda _: len(pids(other)) == 2)
        assert not any(map(is_running, first)), "two attempts run at the same time"

        os.kill(parent(parent(pids(other)[1][0])), signal.SIGKILL)
        endpoints.until(job, "a third attempt", lambda _: len(pids(other)) == 3)
        (other / "go").touch()
        ended = endpoints.wait(job)
        assert (ended.state, ended.summary["steps"][0]["attempts"]) == ("Completed", 2)

        kill = f"echo x >> {tmp_path}/kills; kill -9 $(ps -o ppid= -p $PPID)"
        killer = {"component": {"type": "command", "command": kill}, "retry_settings": {"max_retries": 2}}
        ended = endpoints.call(graph({"killer": killer}, **settings))
        assert ended.message == "step 'killer' failed: the worker that ran it died (2 of 2 attempts)"
        assert (tmp_path / "kills").read_text().split() == ["x", "x"]
    cli("compute", "delete", "shared", "--yes")
