"""A scoring process: its results, its time, its ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.scoring import supervisor
from prefect_batch.scoring.contract import Scored, ScoringSpec
from prefect_batch.scoring.errors import InitFailed, JobReleased, MiniBatchFailed, ProcessDied, RunTimedOut
from prefect_batch.scoring.items import LocalItem
from prefect_batch.scoring.supervisor import ScoringProcess

Script = Callable[..., ScoringSpec]
Make = Callable[..., ScoringProcess]
Eventually = Callable[..., Any]


def run(process: ScoringProcess, *names: str, timeout: float = 60, final: bool = True) -> Scored:
    return process.run([LocalItem(f"/data/{name}", name, name) for name in names], timeout, final)


def cells(scored: Scored) -> list[str]:
    return scored.chunk.data.decode().splitlines()


def test_run_returns_rows_and_init_runs_once(script: Script, process: Make) -> None:
    one = process(
        script(
            """
            calls = []

            def init():
                calls.append("init")

            def run(mini_batch):
                calls.append("run")
                return [f"{path} {'-'.join(calls)}" for path in mini_batch]
            """
        )
    )
    first, second = run(one, "a", "b"), run(one, "c")
    assert cells(first) == ["/data/a init-run", "/data/b init-run"]
    assert (first.chunk.rows, first.chunk.columns, first.failed, first.errors) == (2, ["prediction"], 0, [])
    assert cells(second) == ["/data/c init-run-run"]


def test_prints_and_logging_reach_log_file_and_sink_at_their_level(
    script: Script, process: Make, eventually: Eventually
) -> None:
    lines: list[tuple[int, str]] = []
    spec = script(
        """
        import logging, os, sys

        def run(mini_batch):
            print("printed")
            print("to stderr", file=sys.stderr)
            logging.getLogger("mine").debug("a detail")
            logging.getLogger("mine").info("a note")
            logging.getLogger("mine").warning("a warning")
            logging.getLogger("mine").error("an error")
            os.write(1, b"not unicode: \\xff\\n")
            os.system("echo from a child")
            return mini_batch
        """,
        logging_level="info",
    )
    one = process(spec, sink=lambda level, line: lines.append((level, line)))
    run(one, "a")
    eventually(lambda: (20, "from a child") in lines)
    assert lines == [
        (20, "printed"),
        (20, "to stderr"),
        (20, "mine: a note"),
        (30, "mine: a warning"),
        (40, "mine: an error"),
        (20, "not unicode: \ufffd"),
        (20, "from a child"),
    ]
    log = one.log_file.read_bytes()
    assert log.startswith(f"--- scoring process {one.pid}\nprinted\nto stderr\n".encode())
    assert b"ERROR mine: an error\n" in log and b"\xff" in log and b"a detail" not in log


def test_debug_level(script: Script, process: Make, eventually: Eventually) -> None:
    lines: list[tuple[int, str]] = []
    text = "import logging\n\ndef run(mini_batch):\n    logging.debug('a detail')\n    return mini_batch\n"
    one = process(script(text, logging_level="debug"), sink=lambda level, line: lines.append((level, line)))
    run(one, "a")
    eventually(lambda: (10, "root: a detail") in lines)


@pytest.mark.parametrize("broken", ["sink", "log file"])
def test_a_broken_sink_or_log_file_does_not_stop_the_script(
    script: Script, process: Make, tmp_path: Path, broken: str
) -> None:
    def sink(level: int, line: str) -> None:
        raise RuntimeError("the sink is broken")

    text = "def run(mini_batch):\n    print('x' * 1000, flush=True)\n    return mini_batch\n"
    one = process(script(text), sink=sink if broken == "sink" else None)
    if broken == "log file":
        one.log_file = tmp_path / "missing" / "folder" / "log"
    for _ in range(200):  # more than a pipe holds: somebody must be reading
        assert run(one, "a", timeout=20).chunk.rows == 1


def test_a_huge_line_and_a_huge_result(script: Script, process: Make, eventually: Eventually) -> None:
    seen: list[int] = []
    spec = script(
        """
        def run(mini_batch):
            print("y" * 3_000_000)
            return ["z" * 3_000_000 for _ in mini_batch]
        """
    )
    one = process(spec, sink=lambda level, line: seen.append(len(line)))
    scored = run(one, "a", "b")
    assert len(scored.chunk.data) == 2 * 3_000_001
    eventually(lambda: sum(seen) == 3_000_000)


def test_a_mini_batch_with_more_paths_than_a_pipe_holds(script: Script, process: Make) -> None:
    one = process(script("def run(mini_batch):\n    return mini_batch\n"))
    names = [f"{number:06d}-{'n' * 100}" for number in range(5_000)]
    assert cells(run(one, *names)) == [f"/data/{name}" for name in names]


def test_file_names_that_are_not_unicode(script: Script, process: Make) -> None:
    one = process(
        script(
            "def run(mini_batch):\n    return [path.encode(errors='surrogateescape').hex() for path in mini_batch]\n"
        )
    )
    name = os.fsdecode(b"caf\xe9.csv")
    assert cells(run(one, name)) == [b"/data/caf\xe9.csv".hex()]


def test_timeout_kills_run_and_what_it_started_and_the_next_call_works(
    script: Script, process: Make, tmp_path: Path, eventually: Eventually, gone: Callable[[int], bool]
) -> None:
    pids = tmp_path / "pids"
    spec = script(
        f"""
        import os, subprocess, sys, time

        def run(mini_batch):
            if "hang" not in mini_batch[0]:
                return mini_batch
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            forked = os.fork() or time.sleep(600)
            with open({str(pids)!r}, "w") as stream:
                stream.write(f"{{os.getpid()}} {{child.pid}} {{forked}}\\n")
            time.sleep(600)
        """
    )
    one = process(spec)
    one.start()
    began = time.monotonic()
    with pytest.raises(RunTimedOut, match=r"run\(\) took longer than retry_settings.timeout = 1.5 s"):
        run(one, "hang", timeout=1.5)
    assert 1.4 < time.monotonic() - began < 10
    assert one.pid is None
    for pid in map(int, pids.read_text().split()):
        eventually(lambda pid=pid: gone(pid))
    assert cells(run(one, "a")) == ["/data/a"]


def test_timeout_holds_while_the_result_is_on_its_way(
    script: Script, process: Make, gone: Callable[[int], bool]
) -> None:
    """The child is stopped for good between the two halves of its answer."""
    spec = script(
        """
        import os, signal
        from prefect_batch.scoring import messages

        def init():
            sent, send = [], messages.send

            def stop_before_the_rows(fd, message, wait=None):
                sent.append(message)
                if len(sent) == 3:
                    os.write(fd, len(message).to_bytes(8, "big") + message[:1])
                    os.kill(os.getpid(), signal.SIGSTOP)
                send(fd, message, wait)

            messages.send = stop_before_the_rows

        def run(mini_batch):
            return mini_batch
        """
    )
    one = process(spec)
    one.start()
    pid = one.pid
    assert pid is not None
    with pytest.raises(RunTimedOut):
        run(one, "a", timeout=1)
    assert gone(pid)


def test_timeout_holds_while_the_child_takes_no_request(script: Script, process: Make) -> None:
    one = process(script("def run(mini_batch):\n    return mini_batch\n"))
    one.start()
    assert one.pid is not None
    os.kill(one.pid, signal.SIGSTOP)
    with pytest.raises(RunTimedOut):
        run(one, *[f"{number:0200d}" for number in range(2_000)], timeout=1)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("os._exit(7)", "exited with code 7"),
        ("os._exit(0)", "exited with code 0"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL: often the machine ran out of memory"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("os.kill(os.getpid(), 40)", "killed by signal 40"),
        ("os.closerange(3, 256); time.sleep(600)", "closed its connection and was stopped"),
    ],
)
def test_a_dead_process_is_named_and_replaced(script: Script, process: Make, body: str, said: str) -> None:
    one = process(
        script(
            f"""
            import os, signal, time

            def run(mini_batch):
                if "bad" in mini_batch[0]:
                    {body}
                return mini_batch
            """
        )
    )
    with pytest.raises(ProcessDied, match=said) as caught:
        run(one, "bad")
    assert caught.value.error_type == "ProcessDied"
    assert one.pid is None
    assert cells(run(one, "a")) == ["/data/a"]


def test_death_shows_at_once_also_with_forked_children_left(
    script: Script, process: Make, eventually: Eventually, gone: Callable[[int], bool], tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    one = process(
        script(
            f"""
            import os, time

            def run(mini_batch):
                forked = os.fork() or time.sleep(600)
                os.system("sleep 600 &")
                with open({str(pids)!r}, "w") as stream:
                    stream.write(str(forked))
                os._exit(3)
            """
        )
    )
    with pytest.raises(ProcessDied, match="exited with code 3"):
        run(one, "a", timeout=60)
    eventually(lambda: gone(int(pids.read_text())))


def test_what_the_script_starts_has_none_of_our_pipes(script: Script, process: Make) -> None:
    text = """
        import os, subprocess

        def run(mini_batch):
            code = "ls -l /proc/self/fd"
            spawned = subprocess.run(code, shell=True, close_fds=False, capture_output=True, text=True).stdout
            ours = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                    if int(fd) > 2 and os.path.exists(f"/proc/self/fd/{fd}")}
            ours = {link for link in ours if link.startswith("pipe:")}
            read, write = os.pipe()
            if os.fork() == 0:
                mine = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                        if os.path.exists(f"/proc/self/fd/{fd}")}
                os.write(write, str(len(ours & mine)).encode())
                os._exit(0)
            return [f"{len(ours)} {sum(link in spawned for link in ours)} {os.read(read, 10).decode()}"]
        """
    assert cells(run(process(script(text)), "a")) == ["3 0 0"]


def test_a_process_that_died_while_idle_is_replaced_without_blame(script: Script, process: Make) -> None:
    one = process(script("def run(mini_batch):\n    return mini_batch\n"))
    run(one, "a")
    pid = one.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert cells(run(one, "b")) == ["/data/b"]
    assert one.pid != pid


@pytest.mark.parametrize(
    "body", ["sys.exit()", "sys.exit('enough')", "raise KeyboardInterrupt", "raise ValueError('no')"]
)
def test_what_run_raises_fails_the_mini_batch_and_keeps_the_process(script: Script, process: Make, body: str) -> None:
    one = process(
        script(
            f"""
            import sys

            def run(mini_batch):
                if "bad" in mini_batch[0]:
                    {body}
                return mini_batch
            """
        )
    )
    one.start()
    pid = one.pid
    with pytest.raises(MiniBatchFailed) as caught:
        run(one, "bad")
    assert caught.value.error_type in ("SystemExit", "KeyboardInterrupt", "ValueError")
    assert f"{body}\n" in caught.value.traceback
    assert cells(run(one, "a")) == ["/data/a"]
    assert one.pid == pid


@pytest.mark.parametrize(
    ("result", "name"),
    [
        ("None", "NoneType"),
        ("(p for p in mini_batch)", "generator"),
        ("3.5", "float"),
        ("'text'", "str"),
        ("{}", "dict"),
    ],
)
def test_a_result_that_is_no_table_is_refused_by_type(script: Script, process: Make, result: str, name: str) -> None:
    one = process(script(f"def run(mini_batch):\n    return {result}\n"))
    with pytest.raises(MiniBatchFailed, match=rf"run\(\) returned {name}: return a pandas DataFrame, a list") as caught:
        run(one, "a")
    assert caught.value.error_type == "TypeError"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "def init():\n    raise RuntimeError('no model here')\n\ndef run(mini_batch): ...\n",
            "RuntimeError: no model here",
        ),
        ("import sys\n\ndef init():\n    sys.exit(4)\n\ndef run(mini_batch): ...\n", "SystemExit: 4"),
        (
            "import os\n\ndef init():\n    os._exit(5)\n\ndef run(mini_batch): ...\n",
            "the scoring process exited with code 5",
        ),
        ("import no_such_module\n\ndef run(mini_batch): ...\n", "No module named 'no_such_module'"),
        ("def run(mini_batch) return\n", "SyntaxError"),
        ("def score(mini_batch): ...\n", r"score.py has no function run\(\)"),
    ],
)
def test_init_that_fails(script: Script, process: Make, text: str, said: str) -> None:
    one = process(script(text))
    for _ in range(2):  # the second call tries anew
        with pytest.raises(InitFailed, match=said) as caught:
            run(one, "a")
        assert str(caught.value).startswith("init() failed: ")
        assert one.pid is None


def test_init_that_takes_too_long(script: Script, process: Make) -> None:
    one = process(script("import time\n\ndef init():\n    time.sleep(600)\n\ndef run(m): ...\n"), init_timeout=1.5)
    with pytest.raises(InitFailed, match=r"init\(\) took longer than 1.5 s .*raise retry_settings.timeout"):
        one.start()
    assert one.pid is None


def test_an_interpreter_that_cannot_start(script: Script, process: Make) -> None:
    spec = script("def run(mini_batch): ...\n", environment_variables={"PYTHONHOME": "/nowhere", "FILL": "x" * 100_000})
    with pytest.raises(InitFailed, match="exited with code 1"):
        process(spec).start()


def test_close_calls_shutdown(script: Script, process: Make, tmp_path: Path) -> None:
    mark = tmp_path / "shut"
    text = f"def run(mini_batch):\n    return mini_batch\n\ndef shutdown():\n    open({str(mark)!r}, 'w').close()\n"
    one = process(script(text))
    run(one, "a")
    one.close()
    assert mark.exists()
    assert one.pid is None
    with pytest.raises(JobReleased):
        run(one, "b")


def test_threads_and_exit_handlers_of_the_script_end_with_it(script: Script, process: Make, tmp_path: Path) -> None:
    text = f"""
    import atexit, threading, time
    from pathlib import Path

    def run(mini_batch):
        return mini_batch

    def late():
        while not (Path({str(tmp_path)!r}) / "shut").exists():
            time.sleep(0.01)
        (Path({str(tmp_path)!r}) / "thread").touch()

    def shutdown():
        threading.Thread(target=late).start()
        (Path({str(tmp_path)!r}) / "shut").touch()

    atexit.register((Path({str(tmp_path)!r}) / "handler").touch)
    """
    one = process(script(text))
    run(one, "a")
    one.close()
    assert {"shut", "thread", "handler"} <= {path.name for path in tmp_path.iterdir()}


def test_close_at_once_does_not_call_shutdown(script: Script, process: Make, tmp_path: Path) -> None:
    mark = tmp_path / "shut"
    text = f"def run(mini_batch):\n    return mini_batch\n\ndef shutdown():\n    open({str(mark)!r}, 'w').close()\n"
    one = process(script(text))
    run(one, "a")
    one.close(at_once=True)
    assert not mark.exists()


def test_a_shutdown_that_hangs_is_not_waited_for(
    script: Script, process: Make, monkeypatch: pytest.MonkeyPatch, gone: Callable[[int], bool]
) -> None:
    monkeypatch.setattr(supervisor, "SHUTDOWN_SECONDS", 0.3)
    text = "import time\n\ndef run(mini_batch): ...\n\ndef shutdown():\n    time.sleep(600)\n"
    one = process(script(text))
    one.start()
    pid = one.pid
    assert pid is not None
    began = time.monotonic()
    one.close()
    assert time.monotonic() - began < 10
    assert gone(pid)


@pytest.mark.parametrize("at_once", [True, False])
def test_close_ends_a_run_of_another_thread_as_released(
    script: Script,
    process: Make,
    tmp_path: Path,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    at_once: bool,
) -> None:
    """Not as a failure of the mini-batch: that one would be committed."""
    monkeypatch.setattr(supervisor, "SHUTDOWN_SECONDS", 0.3)
    mark = tmp_path / "running"
    text = f"import time\n\ndef run(mini_batch):\n    open({str(mark)!r}, 'w').close()\n    time.sleep(600)\n"
    one = process(script(text))
    raised: list[BaseException] = []

    def call() -> None:
        try:
            run(one, "a", timeout=600)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    eventually(mark.exists)
    one.close(at_once=at_once)
    thread.join(20)
    assert not thread.is_alive()
    assert [type(error) for error in raised] == [JobReleased]
    assert one.pid is None


def test_close_twice_and_close_before_start(script: Script, process: Make) -> None:
    one = process(script("def run(mini_batch): ...\n"))
    one.close()
    one.close(at_once=True)
    with pytest.raises(JobReleased):
        one.start()


def test_nothing_is_left_open(script: Script, process: Make, open_files: Callable[[], set[str]]) -> None:
    one = process(script("import os\n\ndef run(mini_batch):\n    os._exit(1)\n"))
    with pytest.raises(ProcessDied):
        run(one, "warm up")
    before, threads = open_files(), threading.active_count()
    for _ in range(3):
        with pytest.raises(ProcessDied):
            run(one, "a")
    assert open_files() <= before
    assert threading.active_count() <= threads


def test_a_killed_supervisor_takes_the_child_along(
    script: Script, tmp_path: Path, eventually: Eventually, gone: Callable[[int], bool]
) -> None:
    spec = script(
        """
        import subprocess, sys, time

        def run(mini_batch):
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            print("started", child.pid, flush=True)
            time.sleep(600)
        """
    )
    parent = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from prefect_batch.scoring.contract import ScoringSpec
        from prefect_batch.scoring.items import LocalItem
        from prefect_batch.scoring.supervisor import ScoringProcess

        process = ScoringProcess(ScoringSpec(**{spec.to_dict()!r}), Path({str(tmp_path / "log")!r}), 60)
        process.sink = lambda level, line: print(process.pid, line.split()[1], flush=True)
        process.run([LocalItem("/a", "a", "a")], 600, True)
        """
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        pids = [int(word) for word in worker.stdout.readline().split()]
        assert len(pids) == 2 and not any(gone(pid) for pid in pids)
        worker.send_signal(signal.SIGKILL)
    for pid in pids:
        eventually(lambda pid=pid: gone(pid), f"process {pid} outlived its supervisor")


def test_working_directory_and_sibling_imports(script: Script, process: Make) -> None:
    script("VALUE = 'beside the script'\n", name="inner/sibling.py")
    script("VALUE = 'at the top'\n", name="top.py")
    spec = script(
        """
        import os, sys
        import sibling, top

        def run(mini_batch):
            return [os.getcwd(), sibling.VALUE, top.VALUE, sys.argv[0]]
        """,
        name="inner/score.py",
    )
    code = spec.code_dir
    assert cells(run(process(spec), "a")) == [str(code), "beside the script", "at the top", f"{code}/inner/score.py"]


def test_environment(script: Script, process: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_THE_WORKER", "kept")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "snapshot" / "model").mkdir(parents=True)
    spec = script(
        """
        import os

        def run(mini_batch):
            model = os.environ["AZUREML_MODEL_DIR"]
            names = ["AZUREML_BI_OUTPUT_PATH", "MINE", "FROM_THE_WORKER", "OMP_NUM_THREADS"]
            return [" ".join(os.listdir(model)), *(os.environ[name] for name in names)]
        """,
        model_dir=str(tmp_path / "snapshot"),
        output_dir="/the/output",
        environment_variables={"MINE": "1"},
    )
    assert cells(run(process(spec), "a")) == ["model", "/the/output", "1", "kept", "1"]


def test_a_script_may_take_its_streams_away(script: Script, process: Make) -> None:
    one = process(
        script(
            """
            import os, sys

            def init():
                sys.stdin.read()
                sys.stdout.close()
                sys.stderr = None
                os.close(2)

            def run(mini_batch):
                return mini_batch
            """
        )
    )
    assert cells(run(one, "a")) == ["/data/a"]


def test_a_script_that_pickles_its_own_classes(script: Script, process: Make) -> None:
    one = process(
        script(
            """
            import multiprocessing

            def double(path):
                return path + path

            def run(mini_batch):
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    return pool.map(double, mini_batch)
            """
        )
    )
    assert cells(run(one, "a")) == ["/data/a/data/a"]
