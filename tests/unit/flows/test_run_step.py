"""One step on one worker: real commands, real folders."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pipeline_jobs import data, make_job, place

from prefect_batch.blocks.component import StepRetrySettings
from prefect_batch.flows import reuse
from prefect_batch.flows.run_step import finished, run_step, stop, sweep_outputs
from prefect_batch.flows.step_result import StepResult

Make = Callable[..., Any]


def step(command: str, inputs: Mapping[str, Any] | None = None, **about: Any) -> dict[str, Any]:
    """A step whose component takes what the step is given, as texts, unless `types` says otherwise."""
    types: dict[str, Any] = about.pop("types", {})
    given = inputs or {}
    component: dict[str, Any] = {
        "command": textwrap.dedent(command).strip(),
        "inputs": {name: types.get(name, {"type": "string"}) for name in {**given, **types}},
        "outputs": about.pop("writes", {}),
        "is_deterministic": about.pop("is_deterministic", False),
    }
    return {"component": component, "inputs": dict(given), **about}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make_job() in a datastore below tmp_path, with a number for a name."""
    numbers = iter(range(1, 100))

    def call(steps: Mapping[str, Any], **options: Any) -> Any:
        return make_job(str(tmp_path / "store"), f"job-{next(numbers)}", steps, **options)

    return call


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder, in which nothing may be left."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
    assert list((tmp_path / "store").rglob(".*")) == []


def run(job: Any, name: str, number: int = 1, **options: Any) -> StepResult:
    return run_step(job.root, name, number, **options)


def completed(job: Any, name: str, number: int = 1, **options: Any) -> StepResult:
    result = run(job, name, number, **options)
    assert result.state == "Completed", result.message
    return result


SHOW = "python -c 'import json, sys; print(json.dumps(sys.argv[1:]))'"
NASTY = ['"; rm -rf ~; echo "', "two  words", "$(id) `id` $HOME", "a\nb", "", "-x", "it's", "naïve 😀"]


@pytest.mark.parametrize("shell", [False, True])
def test_literals_arrive_letter_by_letter(make: Make, shell: bool) -> None:
    names = [f"x{number}" for number in range(len(NASTY))]
    words = " ".join(f"${{{{inputs.{name}}}}}" for name in names)
    command = f"{SHOW} {words}" + (" | cat" if shell else "")
    bound = {name: f"${{{{parent.inputs.{name}}}}}" for name in names}
    job = make({"show": step(command, bound)}, inputs=dict(zip(names, NASTY, strict=True)))
    lines: list[str] = []
    completed(job, "show", sink=lambda level, line: lines.append(line))
    assert json.loads(lines[-1]) == NASTY


def test_values_of_every_kind(make: Make) -> None:
    types = {
        "whole": {"type": "integer"},
        "real": {"type": "number"},
        "yes": {"type": "boolean"},
        "left_out": {"type": "string", "optional": True},
        "default": {"type": "string", "default": "d"},
        "same": {"type": "integer"},
    }
    declared = {"n": {"type": "integer"}, "r": {"type": "number"}, "y": {"type": "boolean"}}
    declared["o"] = {"type": "string", "optional": True}
    words = "${{inputs.whole}} ${{inputs.real}} ${{inputs.yes}} ${{inputs.default}} $[[--left ${{inputs.left_out}}]]"
    given = {"whole": "${{parent.inputs.n}}", "real": "${{parent.inputs.r}}", "yes": "${{parent.inputs.y}}"}
    given |= {"left_out": "${{parent.inputs.o}}", "same": "${{parent.jobs.first.inputs.whole}}"}
    job = make(
        {"first": step(f"{SHOW} {words}", given, types=types), "again": step(SHOW + " ${{inputs.same}}", given)},
        inputs={"n": 3, "r": 0.1, "y": True},
        declared=declared,
    )
    job.deployment.graph.jobs["again"].component.inputs["same"].type = "integer"
    lines: list[str] = []
    completed(job, "first", sink=lambda level, line: lines.append(line))
    assert json.loads(lines[-1]) == ["3", "0.1", "True", "d"]


def test_data_goes_from_step_to_step(make: Make, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.txt").write_text("1 2 3")
    code = tmp_path / "code"
    code.mkdir()
    (code / "count.py").write_text(
        "import sys\nfrom pathlib import Path\n"
        "words = Path(sys.argv[1], 'a.txt').read_text().split()\n"
        "Path(sys.argv[2], 'count.txt').write_text(str(len(words)))\n"
        "Path('written-into-the-code.txt').write_text('x')\n"
    )
    job = make(
        {
            "count": step(
                "python count.py ${{inputs.data}} ${{outputs.counts}}",
                {"data": "${{parent.inputs.data}}"},
                types={"data": {}},
                writes={"counts": {}},
            ),
            "copy": step(
                "cp ${{inputs.counts}}/count.txt ${{outputs.result}}",
                {"counts": "${{parent.jobs.count.outputs.counts}}"},
                types={"counts": {}},
                writes={"result": {"type": "uri_file"}},
                outputs={"result": "${{parent.outputs.result}}"},
            ),
        },
        inputs={"data": data(str(source))},
        outputs={"result": place(str(tmp_path / "out" / "result.txt"), is_file=True, given=True)},
        code=code,
    )
    counted = completed(job, "count")
    assert counted.outputs["counts"].location.url == str(tmp_path / "store/azureml/job-1/count/counts")
    assert counted.outputs["counts"].files == [("count.txt", 1)]
    assert completed(job, "copy").outputs["result"].files == [("result.txt", 1)]
    assert (tmp_path / "out" / "result.txt").read_text() == "3"
    assert list(code.iterdir()) == [code / "count.py"] and not list((tmp_path / "store").rglob("written*"))
    assert "process group" in (tmp_path / "store/jobs/job-1/steps/count/log.txt").read_text()


def test_a_failing_step_tells_its_last_lines_and_leaves_nothing(make: Make, tmp_path: Path) -> None:
    command = "echo half > ${{outputs.out}}/file; echo going down; exit 4"
    job = make({"bad": step(command, writes={"out": {}})})
    result = run(job, "bad")
    assert (result.state, result.attempts) == ("Failed", 1)
    assert result.message == "exited with code 4; the last lines of its log:\ngoing down"
    assert not (tmp_path / "store/azureml").exists() and finished(job, "bad") is None


@pytest.mark.parametrize(
    ("dies", "retries", "attempts"),
    [
        ("kill -9 $$", None, 3),
        ("kill -9 $$", {"max_retries": 2}, 2),
        ("exit 1", None, 1),
        ("exit 1", {"max_retries": 2}, 2),
        ("sleep 600", {"max_retries": 2, "timeout": 0.3}, 2),
    ],
)
def test_how_often_a_step_is_tried(make: Make, tmp_path: Path, dies: str, retries: Any, attempts: int) -> None:
    tries = tmp_path / "tries"
    given = {"tries": str(tries)}
    about = {"retry_settings": retries} if retries else {}
    job = make({"bad": step("echo x >> ${{inputs.tries}}; " + dies, given, **about)})
    result = run(job, "bad")
    assert (result.state, result.attempts) == ("Failed", attempts)
    assert tries.read_text().count("x") == attempts
    assert run(job, "bad", 2, used=attempts - 1).attempts == attempts


def test_a_killed_step_is_tried_again_and_succeeds(make: Make, tmp_path: Path) -> None:
    command = """
    python -c 'import os, signal, sys
    first = not os.path.exists(sys.argv[1])
    open(sys.argv[1], "w").close()
    open(sys.argv[2] + "/part", "w").close()
    if first: os.kill(os.getpid(), signal.SIGKILL)
    open(sys.argv[2] + "/rest", "w").close()' ${{inputs.mark}} ${{outputs.out}}
    """
    job = make({"flaky": step(command, {"mark": str(tmp_path / "mark")}, writes={"out": {}})})
    warned: list[str] = []
    result = completed(job, "flaky", sink=lambda level, line: warned.append(line) if level >= logging.WARNING else None)
    assert result.attempts == 2 and [name for name, _ in result.outputs["out"].files] == ["part", "rest"]
    assert "attempt 1 of 3 was killed by SIGKILL" in warned[0]


@pytest.mark.parametrize(
    ("kind", "command", "message"),
    [
        ("uri_file", "true", "no file was written"),
        ("uri_file", "mkdir ${{outputs.out}}", "a folder was written"),
        ("uri_folder", "rmdir ${{outputs.out}}", "the folder was removed"),
        ("uri_folder", "rmdir ${{outputs.out}}; touch ${{outputs.out}}", "a file was written"),
    ],
)
def test_an_output_that_is_not_what_it_should_be(make: Make, kind: str, command: str, message: str) -> None:
    result = run(make({"bad": step(command, writes={"out": {"type": kind}})}), "bad")
    assert result.state == "Failed" and result.message.startswith("outputs.out is a ")
    assert message in result.message


def test_an_output_in_the_way_is_refused_before_the_command_runs(make: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    outputs = {"out": place(str(tmp_path / "out"), given=True)}
    bound = {"outputs": {"out": "${{parent.outputs.out}}"}}
    job = make(
        {"s": step("touch ${{inputs.ran}}", {"ran": str(tmp_path / "ran")}, writes={"out": {}}, **bound)},
        outputs=outputs,
    )
    result = run(job, "s")
    assert result.state == "Failed" and "exists already and is not overwritten" in result.message
    assert not (tmp_path / "ran").exists() and [*(tmp_path / "out").iterdir()] == [tmp_path / "out" / "mine"]


def test_a_step_that_is_done_is_not_run_again(make: Make, tmp_path: Path) -> None:
    ran = {"ran": str(tmp_path / "ran")}
    job = make({"s": step("echo x >> ${{inputs.ran}}; touch ${{outputs.out}}/a", ran, writes={"out": {}})})
    first = completed(job, "s")
    assert completed(job, "s", 2) == first == finished(job, "s")
    assert (tmp_path / "ran").read_text() == "x\n"
    (Path(first.outputs["out"].location.url) / "a").unlink()
    assert finished(job, "s") is None
    completed(job, "s", 2)
    assert (tmp_path / "ran").read_text() == "x\nx\n" and finished(job, "s") is not None


def test_a_custom_place_with_keywords(make: Make, tmp_path: Path) -> None:
    where = {"out": f"{tmp_path}/mine/${{{{name}}}}/${{{{output_name}}}}"}
    job = make({"s": step("touch ${{outputs.out}}/a", writes={"out": {}}, outputs=where)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prefect_batch.flows.step_values.base_of", lambda job: None)  # there is no server to ask
        completed(job, "s")
    assert (tmp_path / "mine" / "job-1-s" / "out" / "a").exists()


WAITS = "python -c 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'"


class Started:
    """A sink that waits for the process id that WAITS prints."""

    def __init__(self) -> None:
        self.pid = 0
        self.arrived = threading.Event()

    def __call__(self, level: int, line: str) -> None:
        self.pid = int(line)
        self.arrived.set()


def test_a_stop_ends_steps_as_cancelled(make: Make, gone: Callable[[int], bool], eventually: Any) -> None:
    job = make({"s": step(f"{WAITS}; touch ${{{{outputs.out}}}}/a", writes={"out": {}})})
    started, results = Started(), list[StepResult]()
    thread = threading.Thread(target=lambda: results.append(run(job, "s", sink=started)))
    thread.start()
    assert started.arrived.wait(30)
    stop(job.root, 1)
    thread.join(30)
    assert [result.state for result in results] == ["Cancelled"]
    eventually(lambda: gone(started.pid))
    lines: list[str] = []
    assert run(job, "s", sink=lambda level, line: lines.append(line)).state == "Cancelled" and lines == []


def test_a_worker_that_is_killed_takes_the_command_along(
    make: Make, scratch: Path, gone: Callable[[int], bool], eventually: Any, tmp_path: Path
) -> None:
    job = make({"s": step(WAITS + "; true", writes={"out": {}})})
    code = f"""
    from prefect_batch.flows.run_step import run_step
    run_step({job.root!r}, "s", 1, lambda level, line: print(line, flush=True))
    """
    worker = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    hidden = list((tmp_path / "store").rglob(".prefect-batch-*"))
    assert len(hidden) == 1 and not gone(pid)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    eventually(lambda: gone(pid))
    sweep_outputs(job)
    assert not hidden[0].exists()
    job.deployment.graph.jobs["s"].component.command = "true"
    job.deployment.graph.jobs["s"].retry_settings = StepRetrySettings(max_retries=1)
    (tmp_path / "store/jobs/job-1/job.json").write_text(job.model_dump_json())
    again = run(job, "s")  # as the scheduler of a running cluster does by itself
    assert (again.state, again.message) == ("Failed", "the worker that ran it died (1 of 1 attempts)")
    job.compute.tier = "low_priority"
    (tmp_path / "store/jobs/job-1/job.json").write_text(job.model_dump_json())
    assert run(job, "s").state == "Completed", "blamed for the loss of its node"
    completed(job, "s", 2)  # whose scratch folder sweeps away that of the killed worker


def counting(tmp_path: Path, **about: Any) -> dict[str, Any]:
    """A deterministic step that notes each time that it runs."""
    inputs = {"data": "${{parent.inputs.data}}", "word": about.pop("word", "w")}
    command = f"echo x >> {tmp_path}/ran; cp -r ${{{{inputs.data}}}}/. ${{{{outputs.out}}}}; echo ${{{{inputs.word}}}}"
    about = {"types": {"data": {}}, "writes": {"out": {}}, "is_deterministic": True} | about
    return {"s": step(command, inputs, **about)}


def times(tmp_path: Path) -> int:
    return (tmp_path / "ran").read_text().count("x")


def test_an_equal_step_is_reused_while_its_output_stands(make: Make, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a").write_text("1")
    inputs = {"data": data(str(source))}
    first = completed(make(counting(tmp_path), inputs=inputs), "s")
    job = make(counting(tmp_path), inputs=inputs)
    second = completed(job, "s")
    assert times(tmp_path) == 1 and second.reused_from == "job-1" and second.attempts == 0
    assert second.outputs == first.outputs and finished(job, "s") == second
    assert completed(make(counting(tmp_path), inputs=inputs, force_rerun=True), "s").reused_from is None
    assert times(tmp_path) == 2
    os.utime(source / "a")  # the same content
    third = completed(make(counting(tmp_path), inputs=inputs), "s")
    assert third.reused_from == "job-3"
    (Path(third.outputs["out"].location.url) / "a").write_text("2")
    assert completed(make(counting(tmp_path), inputs=inputs), "s").reused_from is None
    assert times(tmp_path) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"word": "other"},
        {"environment_variables": {"A": "b"}},
        {"environment": "other"},
        {"is_deterministic": False},
        {"data": "2"},
        {"installed": True},
    ],
)
def test_what_keeps_a_step_from_being_reused(
    make: Make, tmp_path: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a").write_text("1")
    inputs = {"data": data(str(source))}
    completed(make(counting(tmp_path), inputs=inputs), "s")
    if change.pop("installed", False):
        monkeypatch.setattr(reuse, "_installed", lambda: ["another==1"])
    (source / "a").write_text(change.pop("data", "1"))
    assert completed(make(counting(tmp_path, **change), inputs=inputs), "s").reused_from is None
    assert times(tmp_path) == 2


def test_a_step_without_outputs_runs_each_time(make: Make, tmp_path: Path) -> None:
    steps = {"s": step(f"echo x >> {tmp_path}/ran; echo hello", is_deterministic=True)}
    for _ in range(2):
        assert completed(make(steps), "s").reused_from is None
    assert times(tmp_path) == 2


def test_inputs_that_change_while_a_step_runs(make: Make, tmp_path: Path) -> None:
    """What was made of the later content is not taken for the earlier."""
    source = tmp_path / "in"
    source.mkdir()
    (source / "a").write_text("1")
    inputs = {"data": data(str(source))}
    steps = counting(tmp_path)
    command = steps["s"]["component"]["command"]
    steps["s"]["component"]["command"] = f"echo 2 > {source}/a; {command}"
    completed(make(steps, inputs=inputs), "s")
    (source / "a").write_text("1")
    assert completed(make(steps, inputs=inputs), "s").reused_from is None


def test_much_data_that_changes_with_its_size_and_time_set_back(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reuse, "_HASHED", 0)
    source = tmp_path / "in"
    source.mkdir()
    (source / "a").write_text("1")
    about = (source / "a").stat()
    inputs = {"data": data(str(source))}
    completed(make(counting(tmp_path), inputs=inputs), "s")
    assert completed(make(counting(tmp_path), inputs=inputs), "s").reused_from == "job-1"
    (source / "a").write_text("2")
    os.utime(source / "a", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert completed(make(counting(tmp_path), inputs=inputs), "s").reused_from is None


def test_what_was_to_be_written_to_a_named_place_is_not_reused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    inputs = {"data": data(str(tmp_path / "in"))}
    completed(make(counting(tmp_path), inputs=inputs), "s")
    outputs = {"out": place(str(tmp_path / "named"), given=True)}
    steps = counting(tmp_path, outputs={"out": "${{parent.outputs.out}}"})
    assert completed(make(steps, inputs=inputs, outputs=outputs), "s").reused_from is None
    assert times(tmp_path) == 2 and (tmp_path / "named").is_dir()


def test_input_that_is_gone(make: Make, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    job = make(counting(tmp_path), inputs={"data": data(str(tmp_path / "in"))})
    (tmp_path / "in").rmdir()
    result = run(job, "s")
    assert result.state == "Failed" and result.message == f"{tmp_path / 'in'} is not there any more"
