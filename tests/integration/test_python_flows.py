"""Pipelines written as Prefect flows in Python: their tasks run on Dask, their outputs appear when all went well."""

from __future__ import annotations

import contextlib
import json
import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import dask.config
import pytest
from endpoints import Ended, Endpoints, until
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import TaskRunFilter
from storage_servers import S3Bucket

from prefect_batch.blocks import store
from prefect_batch.blocks.compute import ComputeCluster
from prefect_batch.flows import jobs

from .test_data import as_default, register

HEAD = """
from __future__ import annotations
import os
from pathlib import Path
from typing import Annotated, Literal

from prefect import flow, task
from pydantic import Field

from prefect_batch.flows.data import InputFile, InputFolder, OutputFile, OutputFolder, folder
from prefect_batch.flows.score import score
"""
Deploy = Callable[..., str]


@pytest.fixture
def deploy(endpoints: Endpoints, tmp_path: Path) -> Deploy:
    """Deploys the flow `main` of a file with this code, as the default of an endpoint of that name."""

    def make(endpoint: str, code: str, *settings: str, **files: str) -> str:
        folder = tmp_path / f"flow-{endpoint}"
        folder.mkdir()
        (folder / "pipelines.py").write_text(HEAD + textwrap.dedent(code))
        for name, text in files.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        (folder / "deployment.yml").write_text(
            "type: pipeline\nname: python\nendpoint_name: unused\nflow: pipelines.py:main\n"
            f"settings: {{{', '.join(['max_concurrency_per_instance: 2', *settings])}}}\n"
        )
        endpoints.deploy(folder / "deployment.yml", endpoint)
        return endpoint

    return make


def place(ended: Ended, name: str) -> Path:
    """Where a job's output lies when the call names no place."""
    return ended.folder.parent.parent / "azureml" / ended.id / name


def task_states(name: str) -> list[str]:
    """Of the task runs whose names begin so, as far as the server has recorded them."""
    named = TaskRunFilter.model_validate({"name": {"like_": name}})
    with get_client(sync_client=True) as client:
        return [run.state.name for run in client.read_task_runs(task_run_filter=named) if run.state is not None]


def test_outputs_of_tasks_on_dask(endpoints: Endpoints, deploy: Deploy, numbered_files: Callable[[int], Path]):
    deploy(
        "flow-tasks",
        """
        @task
        def copy(data: InputFolder, name: str, out: OutputFolder) -> int:
            from helper import shout
            (out / name).write_text(shout((data / name).read_text()))
            return os.getpid()

        @task
        def tell(pids: list[int], out: OutputFile, **more) -> int:
            with open(out, "w") as stream:
                stream.write(" ".join(map(str, [*pids, more["flow"]])))
            return os.getpid()

        @flow
        def main(data: InputFolder, copies: OutputFolder, pids: OutputFile, times: Annotated[int, Field(ge=1)] = 2,
                 mode: Literal["a", "b"] = "a", extra: InputFile | None = None):
            assert (times, mode, extra) == (3, "b", None)
            first = "item-00000.txt"
            copied = [copy.submit(data, path.name, copies) for path in sorted(data.iterdir())]
            tell([*[future.result() for future in copied], copy(data, first, copies)], pids, flow=os.getpid())
        """,
        helper="def shout(text):\n    return text + '!'\n",
    )
    data = numbered_files(3)
    ended = endpoints.call("flow-tasks", inputs={"data": str(data), "times": 3, "mode": "b"})
    assert ended.state == "Completed", ended.message
    copies = place(ended, "copies")
    assert {path.name: path.read_text() for path in copies.iterdir()} == {
        f"item-0000{n}.txt": f"{n}!" for n in range(3)
    }
    *of_tasks, of_flow = map(int, place(ended, "pids").read_text().split())
    assert len(of_tasks) == 4 and of_flow == os.getpid() and of_flow not in of_tasks
    assert ended.summary["outputs"] == {"copies": str(copies), "pids": str(place(ended, "pids"))}
    assert not (ended.folder / "outputs").exists() and not (ended.folder / "results").exists()


def test_a_failed_flow_leaves_no_output_and_goes_on_where_it_stopped(
    endpoints: Endpoints, deploy: Deploy, numbered_files: Callable[[int], Path], tmp_path: Path
):
    log = tmp_path / "log"
    deploy(
        "flow-resumed",
        f"""
        LOG, FIXED = Path({str(log)!r}), Path({str(tmp_path / "fixed")!r})

        def note(line):
            with LOG.open("a") as stream:
                stream.write(line + "\\n")

        @task
        def prepare_once(path: Path, prepared: OutputFolder) -> str:
            note(f"prepare {{path.name}}")
            (prepared / path.name).write_text(path.read_text() + "!")
            return path.name

        @task
        def pick(prepared: InputFolder, names: list[str], out: OutputFolder) -> None:
            note("pick")
            (out / "partial").write_text("partial")
            if not FIXED.exists():
                raise ValueError("the disk of the\\nprinter is full")
            (out / "all").write_text("".join((prepared / name).read_text() for name in names))

        @flow
        def main(data: InputFolder, out: OutputFolder):
            prepared = folder("prepared")
            names = prepare_once.map(sorted(data.iterdir()), prepared)
            pick.submit(prepared.input, names, out)  # and nobody looks
        """,
    )
    job = endpoints.start("flow-resumed", inputs={"data": str(numbered_files(2))})
    ended = endpoints.wait(job)
    assert ended.state == "Failed"
    assert "task pick" in ended.message and "failed: ValueError: the disk of the printer is full" in ended.message
    assert not place(ended, "out").exists()
    assert sorted(log.read_text().split("\n")) == ["", "pick", "prepare item-00000.txt", "prepare item-00001.txt"]

    log.unlink()
    (tmp_path / "fixed").touch()
    with get_client(sync_client=True) as client:
        jobs.resume(client, client.read_flow_run(job))
    ended = endpoints.wait(job)
    assert ended.state == "Completed", ended.message
    assert log.read_text() == "pick\n"
    assert (place(ended, "out") / "all").read_text() == "0!1!"
    assert ended.summary["runs"] == 2
    until("two cached tasks", lambda: task_states("prepare_once").count("Cached") == 2)


def test_what_exits_has_failed(endpoints: Endpoints, deploy: Deploy, tmp_path: Path):
    """A task that does it leaves its worker, on which others may run, alone."""
    deploy(
        "flow-exits",
        f"""
        import sys

        @task
        def leave(out: OutputFile) -> None:
            with open({str(tmp_path / "times")!r}, "a") as stream:
                stream.write("x")
            sys.exit(0)

        @flow
        def main(out: OutputFile, itself: bool):
            out.write_text("half")
            if itself:
                sys.exit("so long")
            leave.submit(out)
        """,
    )
    ended = {itself: endpoints.call("flow-exits", inputs={"itself": itself}) for itself in (True, False)}
    assert [job.state for job in ended.values()] == ["Failed", "Failed"]
    lines = (tmp_path / "flow-flow-exits" / "pipelines.py").read_text().splitlines()
    at = lines.index('        sys.exit("so long")') + 1
    assert (
        ended[True].message
        == f"flow main failed: pipelines.py: line {at}: RuntimeError: sys.exit('so long') was called"
    )
    assert ended[False].message.startswith("task leave")
    assert ended[False].message.endswith("failed: RuntimeError: sys.exit(0) was called")
    assert (tmp_path / "times").read_text() == "x"
    assert not any(place(job, "out").exists() for job in ended.values())


def test_an_async_flow(endpoints: Endpoints, deploy: Deploy):
    deploy(
        "flow-async",
        """
        @task
        async def double(n: int) -> list[int]:
            return [2 * n, os.getpid()]

        @task
        def write(numbers: list[int], out: OutputFile) -> None:
            out.write_text(" ".join(map(str, numbers)))

        @flow
        async def main(n: int, out: OutputFile):
            doubled, pid = await double(n)
            assert pid != os.getpid()
            write.submit([doubled, *[future.result()[0] for future in double.map([5, 6])]], out)
        """,
    )
    ended = endpoints.call("flow-async", inputs={"n": 4})
    assert ended.state == "Completed", ended.message
    assert place(ended, "out").read_text() == "8 10 12"


def test_a_model_deployment_as_a_step(
    endpoints: Endpoints, deploy: Deploy, script_deployment: Callable[..., Path], numbered_files: Callable[[int], Path]
):
    code = 'return [f"{Path(p).read_text()} {worker_pid()}" for p in mini_batch]'
    deploy(
        "flow-score",
        """
        @task
        def prepare(data: InputFolder, prepared: OutputFolder) -> InputFolder:
            for path in data.iterdir():
                (prepared / path.name).write_text(path.read_text() + "!")
            return prepared.input

        @task
        def here() -> int:
            return os.getpid()

        @flow
        def main(data: InputFolder, scores: OutputFolder, pid: OutputFile):
            prepared = prepare.submit(data, folder("prepared"))
            first = score("scripted", prepared, settings={"mini_batch_size": 1})
            score("scripted", prepared, output=scores)
            assert len((first / "predictions.csv").read_text().splitlines()) == 1 + 4
            pid.write_text(str(here()))
        """,
    )
    endpoints.deploy(script_deployment(code, mini_batch_size=2), "flow-score", set_default=False)
    ended = endpoints.run("flow-score", numbered_files(4))
    assert ended.state == "Completed", ended.message
    rows = [line.split() for line in (place(ended, "scores") / "predictions.csv").read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == ["0!", "1!", "2!", "3!"]
    assert {row[1] for row in rows} == {place(ended, "pid").read_text()}, "scored on other workers than tasks run on"
    steps = {path.name: json.loads((path / "job.json").read_text()) for path in (ended.folder / "steps").iterdir()}
    assert {name: (step["parent"], step["deployment"]["version"]) for name, step in steps.items()} == {
        "scripted": (ended.id, 1),
        "scripted-2": (ended.id, 1),
    }
    plans = [json.loads((ended.folder / "steps" / name / "plan.json").read_text()) for name in sorted(steps)]
    assert [plan["mini_batches"] for plan in plans] == [4, 2]


def test_a_model_deployment_that_fails_fails_the_flow(
    endpoints: Endpoints, deploy: Deploy, script_deployment: Callable[..., Path], numbered_files: Callable[[int], Path]
):
    deploy(
        "flow-unscored",
        """
        @flow
        def main(data: InputFolder, scores: OutputFolder):
            (scores / "mine").write_text("1")
            score("scripted", data, scores)
        """,
    )
    endpoints.deploy(script_deployment('raise ValueError("no good")'), "flow-unscored", set_default=False)
    ended = endpoints.run("flow-unscored", numbered_files(2))
    assert ended.state == "Failed"
    assert "deployment scripted: nothing was scored: all 2 files failed" in ended.message
    assert not place(ended, "scores").exists()


REMOTE = """
@task
def copy(data: InputFolder, name: str, out: OutputFolder) -> None:
    (out / "sub").mkdir(exist_ok=True)
    (out / "sub" / name).write_text((data / name).read_text() + "!")

@flow
def main(data: InputFolder, extra: InputFile, out: OutputFolder, one: OutputFile):
    copy.map(data, [path.name for path in data.iterdir()], out).wait()
    one.write_text(f"{len(out.input.files())} {extra.read_text()}")
"""


@pytest.mark.parametrize("everything", [False, True], ids=["local job", "remote job"])
def test_remote_data(everything: bool, endpoints: Endpoints, deploy: Deploy, s3: S3Bucket):
    store = register(f"s-{s3.bucket}", s3)
    for name in ("in/a.txt", "in/b.txt"):
        s3.fs.pipe_file(f"{s3.bucket}/{name}", name.encode())
    with as_default(store) if everything else contextlib.nullcontext():
        deploy(f"flow-{s3.bucket}", REMOTE)
        ended = endpoints.call(
            f"flow-{s3.bucket}",
            inputs={"data": f"{store}:in", "extra": f"{store}:in/a.txt"},
            outputs={"out": {"path": f"{store}:out"}, "one": {"path": f"{store}:one.txt"}},
        )
    assert ended.state == "Completed", ended.message
    assert s3.fs.cat_file(f"{s3.bucket}/out/sub/b.txt") == b"in/b.txt!"
    assert s3.fs.cat_file(f"{s3.bucket}/one.txt") == b"2 in/a.txt"
    left = s3.fs.find(f"{s3.bucket}/jobs/{ended.id}")
    assert bool(left) == everything and not [name for name in left if "/outputs/" in name or "/results/" in name]


def test_two_jobs_on_a_running_dask_scheduler(endpoints: Endpoints, deploy: Deploy):
    """Both have a module of the same name, and the cluster goes on."""
    from distributed import LocalCluster

    code = """
    import helper

    @task
    def call(out: OutputFile) -> None:
        from lazy import WORD
        out.write_text(helper.WORD + WORD)

    @flow
    def main(out: OutputFile):
        call(out)
    """
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0") as cluster:
        running = ComputeCluster(name="flows", type="address", address=cluster.scheduler_address)
        with store.api() as client:
            store.create(running, running.name, client)
        for word in ("one", "two"):
            text = f"WORD = {word!r}\n"
            deploy(f"flow-{word}", code, "default_compute: flows", helper=text, lazy=text)
        ended = {word: endpoints.call(f"flow-{word}") for word in ("one", "two")}
    for word, job in ended.items():
        assert job.state == "Completed", job.message
        assert place(job, "out").read_text() == 2 * word


def test_a_worker_that_dies(endpoints: Endpoints, deploy: Deploy, tmp_path: Path):
    deploy(
        "flow-killed",
        f"""
        import signal

        @task
        def die(out: OutputFile, once: bool) -> None:
            mark = Path({str(tmp_path / "mark")!r})
            if not once or not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            out.write_text("alive")

        @flow
        def main(out: OutputFile, once: bool):
            die.submit(out, once)
        """,
    )
    ended = endpoints.call("flow-killed", inputs={"once": True})
    assert ended.state == "Completed", ended.message
    assert place(ended, "out").read_text() == "alive"
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        ended = endpoints.call("flow-killed", inputs={"once": False})
    assert ended.state == "Failed" and not place(ended, "out").exists()
    assert "task die" in ended.message and "2 workers died one after the other" in ended.message
    until("an end of each row", lambda: sorted(task_states("die")) == ["Completed", "Crashed"])


def test_a_handled_failure_is_none(endpoints: Endpoints, deploy: Deploy):
    deploy(
        "flow-handled",
        """
        @task
        def fail() -> int:
            raise ValueError("no")

        @task
        def write(n: int, out: OutputFile) -> None:
            out.write_text(str(n))

        @flow
        def main(out: OutputFile, empty: OutputFolder):
            state = fail(return_state=True)
            assert state.is_failed()
            try:
                fail.submit().result()
            except ValueError:
                write(7, out)
        """,
    )
    ended = endpoints.call("flow-handled")
    assert ended.state == "Completed", ended.message
    assert place(ended, "out").read_text() == "7" and list(place(ended, "empty").iterdir()) == []


def test_an_output_that_the_flow_did_not_write(endpoints: Endpoints, deploy: Deploy):
    deploy(
        "flow-unwritten",
        """
        @flow
        def main(folder: OutputFolder, out: OutputFile):
            (folder / "mine").write_text("1")
        """,
    )
    ended = endpoints.call("flow-unwritten")
    assert ended.state == "Failed" and "outputs.out" in ended.message
    assert not place(ended, "folder").exists()


def test_tasks_that_still_run_when_the_flow_fails_are_cancelled(endpoints: Endpoints, deploy: Deploy, tmp_path: Path):
    begun, go = tmp_path / "begun", tmp_path / "go"
    os.mkfifo(begun)
    os.mkfifo(go)
    deploy(
        "flow-cancelled",
        f"""
        @task
        def endless() -> None:
            Path({str(begun)!r}).write_text("begun")
            Path({str(go)!r}).read_text()  # which nobody writes to

        @flow
        def main(out: OutputFolder):
            from endpoints import until
            from prefect.client.orchestration import get_client
            from prefect.client.schemas.filters import TaskRunFilter

            future = endless.submit()
            Path({str(begun)!r}).read_text()
            known = TaskRunFilter.model_validate({{"id": {{"any_": [future.task_run_id]}}}})
            with get_client(sync_client=True) as client:  # the server hears of tasks a little later
                until("the server knows the task", lambda: client.read_task_runs(task_run_filter=known))
            raise ValueError("no")
        """,
    )
    ended = endpoints.call("flow-cancelled")
    assert ended.message == "flow main failed: pipelines.py: line 29: ValueError: no"
    until("a cancelled task", lambda: task_states("endless") == ["Cancelled"])


def test_a_killed_flow_goes_on_where_it_stopped(
    endpoints: Endpoints,
    deploy: Deploy,
    script_deployment: Callable[..., Path],
    numbered_files: Callable[[int], Path],
    tmp_path: Path,
):
    log, killed = tmp_path / "log", tmp_path / "killed"
    deploy(
        "flow-shot",
        f"""
        import signal

        @task
        def prepare(data: InputFolder, prepared: OutputFolder) -> InputFolder:
            with open({str(log)!r}, "a") as stream:
                stream.write("prepare ")
            for path in data.iterdir():
                (prepared / path.name).write_text(path.read_text() + "!")
            return prepared.input

        @flow
        def main(data: InputFolder, scores: OutputFolder):
            prepared = prepare(data, folder("prepared"))
            score("scripted", prepared, output=scores)
            if not os.path.exists({str(killed)!r}):
                Path({str(killed)!r}).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            assert prepare(data, folder("again")) != prepared
        """,
    )
    run = f"""
    with open({str(log)!r}, "a") as stream:
        stream.write("score ")
    return [Path(p).read_text() for p in mini_batch]
    """
    endpoints.deploy(script_deployment(run), "flow-shot", set_default=False)
    job = endpoints.start("flow-shot", inputs={"data": str(numbered_files(2))})
    first = endpoints.wait(job)
    assert first.state == "Crashed" and not place(first, "scores").exists()
    with get_client(sync_client=True) as client:
        jobs.resume(client, client.read_flow_run(job))
    endpoints.until(job, "a second run", lambda run: run.run_count >= 2 or None)
    ended = endpoints.wait(job)
    assert ended.state == "Completed", ended.message
    assert log.read_text() == "prepare score prepare "
    assert (place(ended, "scores") / "predictions.csv").read_text().split() == ["prediction", "0!", "1!"]
