"""Steps in the order of their edges, on threads: what runs at once, what failures do, what is run again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.component import PipelineComponent
from prefect_batch.blocks.compute import builtin_local
from prefect_batch.blocks.pipeline_deployment import PipelineDeployment
from prefect_batch.blocks.pipeline_settings import PipelineSettings
from prefect_batch.flows import run_graph as module
from prefect_batch.flows.locations import Location
from prefect_batch.flows.pipeline_job import OutputPlace, PipelineJob
from prefect_batch.flows.pipeline_summary import read_pipeline_summary
from prefect_batch.flows.run_graph import StepCounts, WorkersLost, run_graph
from prefect_batch.flows.step_result import StepOutput, StepResult
from prefect_batch.scoring.errors import StorageFailed

SECONDS = 30.0
Body = Callable[[], None]


def step(*after: str, **keys: Any) -> dict[str, Any]:
    """A step with an output `out`, which takes those of others."""
    inputs = {f"from_{name}": {"type": "uri_folder"} for name in after}
    return {
        "component": {"command": "true", "inputs": inputs, "outputs": {"out": {"type": "uri_folder"}}},
        "inputs": {f"from_{name}": f"${{{{parent.jobs.{name}.outputs.out}}}}" for name in after},
        **keys,
    }


def at(path: Path) -> Location:
    return Location(given=None, url=str(path), reference=str(path))


DIAMOND = {"first": step(), "left": step("first"), "right": step("first"), "last": step("left", "right")}


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., PipelineJob]:
    def make(jobs: dict[str, Any], outputs: Sequence[str] = (), **settings: Any) -> PipelineJob:
        graph = PipelineComponent.model_validate({"jobs": jobs, "outputs": dict.fromkeys(outputs)})
        deployment = PipelineDeployment(name="graph", endpoint_name="graphs", graph=graph, interface=graph.interface)
        job = PipelineJob(
            id="job-1",
            endpoint="graphs",
            deployment=deployment,
            compute=builtin_local(),
            settings=PipelineSettings(**settings),
            outputs={name: OutputPlace(location=at(tmp_path / name), is_file=False, given=False) for name in outputs},
            root=str(tmp_path / "job"),
        )
        job.save()
        return job

    return make


class Threads:
    """A Stepper whose steps are functions: one that raises fails its step, one not named does nothing."""

    def __init__(self, bodies: dict[str, Body]) -> None:
        self.bodies = bodies
        self.started: list[tuple[str, int]] = []
        self.stopped = threading.Event()
        self._pool = ThreadPoolExecutor(8)
        self._futures: dict[str, Future[None]] = {}

    def submit(self, step: str, after: Sequence[str], used: int, done: Callable[[], None]) -> None:
        self.started.append((step, used))
        self._futures[step] = self._pool.submit(self.bodies.get(step, lambda: None))
        self._futures[step].add_done_callback(lambda _: done())

    def result(self, step: str) -> StepResult:
        try:
            self._futures[step].result()
        except ValueError as error:
            state = "Cancelled" if self.stopped.is_set() else "Failed"
            return StepResult(name=step, state=state, message=str(error), attempts=1)
        out = StepOutput(location=at(Path("/out") / step), is_file=False)
        return StepResult(name=step, state="Completed", attempts=1, outputs={"out": out})

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        self._pool.shutdown()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.started]


@pytest.fixture
def threads() -> Iterator[Callable[..., Threads]]:
    made: list[Threads] = []

    def make(**bodies: Body) -> Threads:
        made.append(Threads(bodies))
        return made[-1]

    yield make
    for one in made:
        one.close()


def failing(text: str = "exit code 3") -> Body:
    def body() -> None:
        raise ValueError(text)

    return body


def run(job: PipelineJob, stepper: Threads, report: Callable[[StepCounts], None] = lambda _: None) -> Any:
    return run_graph(job, lambda _: stepper, report)


def states(summary: Any) -> dict[str, str]:
    return {step.name: step.state for step in summary.steps}


def test_independent_steps_run_at_once_and_the_others_in_order(job: Any, threads: Any):
    meet = threading.Barrier(2, timeout=SECONDS)
    stepper = threads(left=meet.wait, right=meet.wait)
    shown: list[StepCounts] = []
    summary = run(job(DIAMOND), stepper, shown.append)
    assert (summary.state, summary.message) == ("Completed", "4 steps completed")
    assert (stepper.names[0], set(stepper.names[1:3]), stepper.names[3:]) == ("first", {"left", "right"}, ["last"])
    assert [(counts.completed, counts.total) for counts in shown] == [(n, 4) for n in range(5)]


def test_steps_may_stand_in_any_order(job: Any, threads: Any):
    stepper = threads()
    run(job(dict(reversed(DIAMOND.items()))), stepper)
    assert (stepper.names[0], stepper.names[-1]) == ("first", "last")


def test_outputs_are_those_of_the_steps_that_write_them(job: Any, threads: Any):
    bound = {"first": step(), "second": step("first", outputs={"out": "${{parent.outputs.scores}}"})}
    summary = run(job(bound, outputs=["scores"]), threads())
    assert summary.outputs == {"scores": "/out/second"}


def test_after_a_failure_independent_steps_go_on(job: Any, threads: Any):
    jobs = {**DIAMOND, "apart": step(), "behind": step("apart")}
    failed = threading.Event()

    def left() -> None:
        failed.set()
        raise ValueError("exit code 3\nlast line")

    stepper = threads(left=left, apart=lambda: failed.wait(SECONDS) or pytest.fail("left never ran"))
    record = job(jobs, continue_on_step_failure=True)
    summary = run(record, stepper)
    assert summary.state == "Failed"
    assert summary.message == "step 'left' failed: exit code 3\nlast line"
    completed = dict.fromkeys(["first", "right", "apart", "behind"], "Completed")
    assert states(summary) == {**completed, "left": "Failed", "last": "NotRun"}
    assert next(step.message for step in summary.steps if step.name == "last") == "needs left"
    assert read_pipeline_summary(record) == summary


def test_after_a_failure_running_steps_are_stopped(job: Any, threads: Any):
    jobs = {"bad": step(), "long": step(), "behind": step("long")}
    running = threading.Event()

    def bad() -> None:
        assert running.wait(SECONDS)
        raise ValueError("exit code 3")

    def long() -> None:
        running.set()
        assert stepper.stopped.wait(SECONDS)
        raise ValueError("stopped")

    stepper = threads(bad=bad, long=long)
    summary = run(job(jobs, continue_on_step_failure=False), stepper)
    assert states(summary) == {"bad": "Failed", "long": "Cancelled", "behind": "NotRun"}
    assert summary.message == "step 'bad' failed: exit code 3"
    assert "behind" not in stepper.names


def test_several_failures_are_all_named(job: Any, threads: Any):
    summary = run(job(DIAMOND), threads(left=failing("one"), right=failing("two")))
    assert summary.message == "2 of 4 steps failed (left, right); step 'left' failed: one"


class Losing(Threads):
    """Loses the workers of a step so many times."""

    def __init__(self, step: str, times: int) -> None:
        super().__init__({})
        self._step, self._left = step, times

    def result(self, step: str) -> StepResult:
        if step == self._step and self._left:
            self._left -= 1
            raise WorkersLost(1)
        return super().result(step)


@pytest.mark.parametrize(
    ("retry_settings", "times", "state", "used"),
    [
        (None, 2, "Completed", [0, 1, 2]),
        (None, 3, "Failed", [0, 1, 2]),
        ({"max_retries": 1}, 1, "Failed", [0]),
        ({"max_retries": 5}, 4, "Completed", [0, 1, 2, 3, 4]),
    ],
)
def test_a_step_whose_worker_died_is_tried_again(
    job: Any, retry_settings: Any, times: int, state: str, used: list[int]
):
    stepper = Losing("only", times)
    summary = run(job({"only": step(retry_settings=retry_settings)}), stepper)
    stepper.close()
    assert summary.state == state
    assert stepper.started == [("only", n) for n in used]
    if state == "Failed":
        assert summary.message == f"step 'only' failed: the worker that ran it died ({times} of {times} attempts)"


def finished_among(*names: str) -> Callable[[PipelineJob, str], StepResult | None]:
    return lambda _, step: StepResult(name=step, state="Completed") if step in names else None


def test_a_job_that_runs_again_runs_what_is_missing(job: Any, threads: Any, monkeypatch: pytest.MonkeyPatch):
    record = job(DIAMOND)
    assert states(run(record, threads(right=failing())))["last"] == "NotRun"
    stepper = threads()
    monkeypatch.setattr(module, "finished", finished_among("first", "left"))
    summary = run(record, stepper)
    assert (summary.state, summary.runs, stepper.names) == ("Completed", 2, ["right", "last"])
    assert run(record, threads(first=failing())) == summary, "a completed job ran again"


def test_nothing_is_run_where_nothing_is_missing(job: Any, monkeypatch: pytest.MonkeyPatch):
    """As after a kill between the last step and the summary."""
    record = job(DIAMOND)
    record.begin_run()
    monkeypatch.setattr(module, "finished", finished_among(*DIAMOND))
    summary = run_graph(record, lambda _: pytest.fail("a stepper was made"), lambda _: None)
    assert (summary.state, summary.runs) == ("Completed", 2)


def test_a_record_that_cannot_be_read_fails_its_step(job: Any, threads: Any):
    def broken() -> None:
        raise StorageFailed("the bucket is gone")

    summary = run(job(DIAMOND), threads(left=broken))
    assert (summary.state, summary.message) == ("Failed", "step 'left' failed: the bucket is gone")
    assert states(summary) == {"first": "Completed", "left": "Failed", "right": "Completed", "last": "NotRun"}


def test_trouble_of_the_machinery_stops_all(job: Any, threads: Any):
    def broken() -> None:
        raise RuntimeError("no connection")

    stepper = threads(left=broken)
    record = job(DIAMOND)
    with pytest.raises(RuntimeError, match="no connection"):
        run(record, stepper)
    assert stepper.stopped.is_set()
    assert read_pipeline_summary(record) is None
