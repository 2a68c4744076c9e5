"""Commands of steps: real processes, killed in every way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_batch.scoring import command as commands
from prefect_batch.scoring.command import RunningCommand, run_command
from prefect_batch.scoring.errors import JobReleased, StepFailed, StepKilled, StepTimedOut

Run = Callable[..., list[tuple[int, str]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command in tmp_path; returns the lines that it printed, with their levels."""

    def call(*argv: str, environment: Mapping[str, str] | None = None, **options: Any) -> list[tuple[int, str]]:
        lines: list[tuple[int, str]] = []
        sink = options.pop("sink", lambda level, line: lines.append((level, line)))
        whole = commands.environment(environment or {})
        run_command(argv, tmp_path, whole, tmp_path / "log.txt", sink, **options)
        return lines

    return call


def python(code: str) -> list[str]:
    return ["python", "-c", textwrap.dedent(code)]


def test_lines_arrive_with_their_levels_and_in_the_log(run: Run, tmp_path: Path) -> None:
    lines = run(
        *python("""
        import logging, sys
        print("plain")
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("mine").error("bad")
        """)
    )
    assert lines == [(20, "plain"), (40, "mine: bad")]
    assert (tmp_path / "log.txt").read_text().splitlines()[1] == "plain"


def test_python_is_this_one_and_the_environment_is_the_steps_own(run: Run, tmp_path: Path) -> None:
    code = "import os, sys; print(sys.executable, os.environ['A'], os.getcwd(), sys.stdin.read() == '')"
    assert run(*python(code), environment={"A": "b c"}) == [(20, f"{sys.executable} b c {tmp_path} True")]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.sampled_from(['"; rm -rf ~; echo "', "$(id)", "`id`", "a\nb", "", "-rf", "'", "\\", "ä€😀", "*"]),
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        )
    )
)
def test_arguments_arrive_letter_by_letter(run: Run, arguments: list[str]) -> None:
    ((_, line),) = run("python", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *arguments)
    assert json.loads(line) == arguments


def test_a_failing_command_tells_its_last_lines(run: Run) -> None:
    with pytest.raises(StepFailed) as failed:
        run(*python("[print('line', n) for n in range(30)]; raise SystemExit(7)"))
    lines = str(failed.value).splitlines()
    assert lines[0] == "exited with code 7; the last lines of its log:"
    assert lines[1:] == [f"line {n}" for n in range(10, 30)]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["no-such-command"], "no-such-command: cannot be started: there is no such command"),
        (["/etc/passwd"], "/etc/passwd: cannot be started: Permission denied"),
        (["echo", "a\0b"], "the command cannot be started: embedded null byte"),
        (["echo", "x" * 4_000_000], "the command cannot be started: Argument list too long"),
    ],
)
def test_a_command_that_cannot_be_started(run: Run, argv: list[str], message: str) -> None:
    with pytest.raises(StepFailed) as failed:
        run(*argv)
    assert message in str(failed.value) and type(failed.value) is StepFailed


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_a_killed_command_is_told_from_a_failed_one(run: Run, name: str) -> None:
    with pytest.raises(StepKilled, match=f"was killed by {name}.*\n?"):
        run(*python(f"import os, signal; print('x'); os.kill(os.getpid(), signal.{name})"))
    with pytest.raises(StepKilled, match=f"was killed by {name}"):
        run("bash", "-c", f"python -c 'import os, signal; os.kill(os.getpid(), signal.{name})'; exit $?")


def test_a_command_that_signals_its_whole_group(run: Run) -> None:
    with pytest.raises(StepKilled, match="SIGTERM"):
        run("bash", "-c", "kill 0; sleep 60")
    with pytest.raises(StepKilled, match="SIGKILL"):
        run("bash", "-c", "kill -9 0; sleep 60")


FAMILY = """
import subprocess, sys, time, os
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid)
"""


class Pids:
    """A sink that waits for the two numbers that FAMILY prints."""

    def __init__(self) -> None:
        self.found: list[int] = []
        self.arrived = threading.Event()

    def __call__(self, level: int, line: str) -> None:
        self.found = [int(number) for number in line.split()]
        self.arrived.set()


def test_a_timeout_takes_grandchildren_along(run: Run, gone: Callable[[int], bool], eventually: Any) -> None:
    pids, start = Pids(), time.monotonic()
    with pytest.raises(StepTimedOut, match=r"took longer than its timeout of 1.5 s"):
        run(*python(FAMILY + "time.sleep(600)"), sink=pids, timeout=1.5)
    assert 1.4 < time.monotonic() - start < 10 and len(pids.found) == 2
    eventually(lambda: all(map(gone, pids.found)))


def test_what_a_command_leaves_running_is_killed_at_its_end(
    run: Run, gone: Callable[[int], bool], eventually: Any
) -> None:
    pids = Pids()
    run(*python(FAMILY), sink=pids)
    eventually(lambda: all(map(gone, pids.found)))


def test_a_stop_from_another_thread(
    run: Run, gone: Callable[[int], bool], eventually: Any, open_files: Callable[[], set[str]]
) -> None:
    before, pids, running = open_files(), Pids(), list[RunningCommand]()

    def stop() -> None:
        assert pids.arrived.wait(30)
        running[0].stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(JobReleased):
        run(*python(FAMILY + "time.sleep(600)"), sink=pids, on_start=running.append)
    stopper.join()
    eventually(lambda: all(map(gone, [*pids.found, running[0].group])))
    running[0].stop()  # of one that has ended: its number may be another's
    assert open_files() == before


def test_the_command_dies_with_its_worker(tmp_path: Path, gone: Callable[[int], bool], eventually: Any) -> None:
    code = f"""
    import sys
    from pathlib import Path
    from prefect_batch.scoring.command import environment, run_command

    def sink(level, line):
        print(line, flush=True)

    argv = ["python", "-c", {FAMILY + "time.sleep(600)"!r}]
    run_command(argv, Path({str(tmp_path)!r}), environment({{}}), Path({str(tmp_path / "log")!r}), sink)
    """
    worker = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    pids = [int(number) for number in worker.stdout.readline().split()]
    assert len(pids) == 2 and not any(map(gone, pids))
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    eventually(lambda: all(map(gone, pids)))
    worker.stdout.close()


def test_a_guard_that_is_killed_takes_the_command_along(run: Run, gone: Callable[[int], bool], eventually: Any) -> None:
    pids, running = Pids(), list[RunningCommand]()

    def kill() -> None:
        assert pids.arrived.wait(30)
        os.kill(running[0].group, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StepKilled):
        run(*python(FAMILY + "time.sleep(600)"), sink=pids, on_start=running.append)
    killer.join()
    eventually(lambda: all(map(gone, pids.found)))


def test_a_full_disk_and_a_broken_sink_stop_no_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")

    def broken(level: int, line: str) -> None:
        raise RuntimeError

    run(*python("for n in range(20000): print('x' * 100)"), sink=broken)


def test_a_command_costs_little(run: Run) -> None:
    start = time.monotonic()
    for _ in range(10):
        run("true")
    assert (time.monotonic() - start) / 10 < 0.15
