"""Processes that are forked from one that has imported what they need."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from prefect_batch.scoring import forked
from prefect_batch.scoring.forked import ForkedProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks safely what is imported")


class Server:
    """A fork server that finds modules in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, str(folder / "run" / "socket")
        (folder / "run").mkdir()
        self.env = dict(os.environ) | {"PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1"}

    def start(self, *modules: str) -> None:
        command = [sys.executable, "-P", "-m", "prefect_batch.scoring.fork_server", self.path, *modules]
        self.process = subprocess.Popen(command, env=self.env, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        while not Path(self.path).exists() and self.process.poll() is None:
            pass  # one that will not fork anything may have come and gone

    def write(self, name: str, code: str) -> None:
        (self.folder / f"{name}.py").write_text(textwrap.dedent(code))

    def fork(self, *command: str, fds: tuple[int, ...] = (), **environment: str) -> ForkedProcess:
        folder = str(self.folder)
        made = forked.fork(self.path, list(command), self.env | environment, folder, [0, 1, 2, *fds])
        assert made is not None
        return made

    def program(self, *command: str) -> list[str]:
        return [sys.executable, "-S", "-E", forked.__file__, self.path, *command]

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.write("tell", "import os, sys; open(sys.argv[1], 'w').write(' '.join(map(str, eval(sys.argv[2]))))")
    made.write("end", "import sys; sys.exit(int(sys.argv[1]))")
    made.write("wait", "import signal, sys; print('here', flush=True); signal.pause()")
    yield made
    made.stop()
    assert made.process.wait(20) in (0, -signal.SIGKILL)


def test_what_it_is_given(server: Server, tmp_path: Path):
    server.start()
    told = tmp_path / "told"
    expression = "(os.environ['GIVEN'], os.getcwd(), os.getsid(0) == os.getpid(), __name__, sys.argv[3])"
    process = server.fork("tell", str(told), expression, "more", GIVEN="a")
    assert process.wait(20) == 0
    assert told.read_text() == f"a {tmp_path} True __main__ more"


def test_file_descriptors_become_arguments(server: Server):
    server.write("answer", "import os, sys; os.write(int(sys.argv[1]), b'yes')")
    server.start()
    read, write = os.pipe()
    process = server.fork("answer", fds=(write,))
    os.close(write)
    assert process.wait(20) == 0
    assert os.read(read, 10) == b"yes"
    assert os.read(read, 10) == b"", "nobody else holds it open"
    os.close(read)


@pytest.mark.parametrize("code", [0, 3])
def test_exit_codes(server: Server, code: int):
    server.start()
    assert server.fork("end", str(code)).wait(20) == code


def test_one_that_is_killed(server: Server):
    server.start()
    process = server.fork("wait")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(20) == process.poll() == -signal.SIGKILL


def test_a_folder_that_is_gone(server: Server):
    """The process ends as one that fails; the server goes on."""
    server.start()
    process = forked.fork(server.path, ["end", "0"], server.env, str(server.folder / "gone"), [0, 1, 2])
    assert process is not None and process.wait(20) == 1
    assert server.fork("end", "0").wait(20) == 0


def test_what_was_imported_is_there(server: Server, tmp_path: Path):
    server.write("slow", "import os; PID = os.getpid()")
    server.start("slow", "no_such_module")
    told = tmp_path / "told"
    server.fork("tell", str(told), "[__import__('slow').PID]").wait(20)
    assert told.read_text() == str(server.process.pid)


def test_each_draws_numbers_of_its_own(server: Server, tmp_path: Path):
    server.start("numpy", "random")
    drawn: set[str] = set()
    for number in range(2):
        told = tmp_path / str(number)
        expression = "(__import__('numpy').random.random(), __import__('random').random())"
        server.fork("tell", str(told), expression).wait(20)
        drawn |= set(told.read_text().split())
    assert len(drawn) == 4


def test_threads_are_not_forked(server: Server):
    server.write("threads", "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()")
    server.start("threads")
    assert forked.fork(server.path, ["end", "0"], server.env, "/", [0, 1, 2]) is None
    assert server.process.stderr is not None and b"started threads" in server.process.stderr.read()


def test_without_a_server(tmp_path: Path):
    assert forked.fork(str(tmp_path / "none"), ["end", "0"], {}, "/", [0, 1, 2]) is None


def test_the_server_outlives_its_owner_for_what_runs(server: Server):
    server.start()
    process = server.fork("wait")
    server.stop()
    assert process.poll() is None
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(20) == -signal.SIGTERM


def test_nothing_is_left_when_the_owner_is_gone(server: Server):
    server.start()
    assert server.fork("end", "0").wait(20) == 0
    server.stop()
    assert server.process.wait(20) == 0
    assert not (server.folder / "run").exists()


def test_none_outlives_a_server_that_is_killed(server: Server):
    server.start()
    process = psutil.Process(server.fork("wait").pid)
    server.process.kill()
    assert process.wait(20) in (None, -signal.SIGKILL)


def test_one_that_calls_as_the_owner_goes(server: Server):
    server.start()
    os.kill(server.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, server.process.pid, os.WSTOPPED)
    server.stop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
        caller.connect(server.path)
        os.kill(server.process.pid, signal.SIGCONT)
        assert server.process.wait(60) == 0
    assert not Path(server.path).exists()


class TestProgram:
    """The stand-in for a process, for those who start commands."""

    def test_it_is_as_the_module(self, server: Server):
        server.write("echo", "import sys; print(sys.stdin.read(), end=''); print('err', file=sys.stderr); sys.exit(4)")
        server.start()
        done = subprocess.run(server.program("echo"), env=server.env, input=b"in", capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (4, b"in", b"err\n")

    def test_without_a_server(self, server: Server):
        server.start()
        command = server.program("end", "5")
        command[command.index(server.path)] += "-gone"
        assert subprocess.run(command, env=server.env, check=False).returncode == 5

    def test_signals(self, server: Server):
        server.write(
            "caught",
            """
            import signal, sys
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
            print("here", flush=True)
            signal.pause()
            """,
        )
        server.start()
        for module, code in (("caught", 7), ("wait", -signal.SIGTERM)):
            with subprocess.Popen(server.program(module), env=server.env, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None and process.stdout.readline() == b"here\n"
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == code

    def test_one_that_is_killed_takes_its_process_along(self, server: Server):
        server.start()
        with subprocess.Popen(server.program("wait"), env=server.env, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"here\n"
            (child,) = psutil.Process(server.process.pid).children()
            process.kill()
            assert child.wait(20) in (None, -signal.SIGKILL)

    def test_one_that_is_aloof_prints_where_the_server_does(self, server: Server):
        server.write("echo", "import sys; print(sys.stdin.read() or 'nothing', file=sys.stderr)")
        server.start()
        command = server.program("echo")
        command.insert(command.index(server.path), forked.ALOOF)
        done = subprocess.run(command, env=server.env, input=b"in", capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        server.stop()
        assert server.process.stderr is not None and server.process.stderr.read() == b"nothing\n"
