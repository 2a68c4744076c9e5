"""Machines for tests: network namespaces on a bridge, each with an address and a temporary folder of its own.

What runs on one sees the programs of this machine, and nothing of what tests write. Needs root, and `ip`.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

_APT_SECONDS = 120


class NotPermitted(Exception):
    """There can be no network namespaces here, and why."""


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise NotPermitted(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _install_ip() -> None:
    if os.getuid() != 0:
        raise NotPermitted("only root makes network namespaces")
    if shutil.which("ip") is None:
        command = ["apt-get", "install", "-y", "-q", "iproute2"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=_APT_SECONDS, check=False)
    if shutil.which("ip") is None:
        raise NotPermitted("there is no `ip`: apt-get install iproute2")


class Network:
    """A bridge, as a context; this machine has the first address on it. Raises NotPermitted when it is entered."""

    def __init__(self) -> None:
        self.name = f"pb{random.randrange(16**6):06x}"
        self._subnet = f"10.{random.randrange(100, 250)}.{random.randrange(256)}"
        self.address = f"{self._subnet}.1"
        self._machines: list[Machine] = []

    def __enter__(self) -> Self:
        _install_ip()
        if f" {self._subnet}." in _ip("-o", "address"):
            raise NotPermitted(f"{self._subnet}.0 is in use")
        _ip("link", "add", self.name, "type", "bridge", "forward_delay", "0")
        try:
            _ip("address", "add", f"{self.address}/24", "dev", self.name)
            _ip("link", "set", self.name, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self._machines:
            machine.remove()
        _ip("link", "delete", self.name)

    def machine(self) -> Machine:
        """A new one. Raises NotPermitted."""
        number = len(self._machines)
        made = Machine(f"{self.name}n{number}", f"{self._subnet}.{number + 2}", self.name)
        self._machines.append(made)
        made.add()
        return made


class Machine:
    """One network namespace."""

    def __init__(self, name: str, address: str, bridge: str) -> None:
        self.name, self.address, self._bridge = name, address, bridge
        self._outside, self._inside = f"{name}o", f"{name}i"
        self._processes: list[subprocess.Popen[bytes]] = []

    def add(self) -> None:
        _ip("netns", "add", self.name)
        _ip("link", "add", self._outside, "type", "veth", "peer", "name", self._inside)
        _ip("link", "set", self._outside, "master", self._bridge)
        _ip("link", "set", self._outside, "up")
        _ip("link", "set", self._inside, "netns", self.name)
        _ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", self._inside)
        _ip("-n", self.name, "link", "set", self._inside, "up")
        _ip("-n", self.name, "link", "set", "lo", "up")

    def start(self, command: Sequence[str], log: Path, **environment: str) -> None:
        """Run a command of this Python's folder there until the end; it has a home and a /tmp that nobody shares."""
        program = Path(sys.executable).parent / command[0]
        own, project = tempfile.gettempdir(), Path(__file__).parent.parent  # which may lie in it, with its programs
        inside = (
            f"mount --bind {project} /mnt && mount -t tmpfs none {own} && mkdir -p {own}/home {project} &&"
            f' mount --bind /mnt {project} && cd {own}/home && exec "$@"'
        )
        line = ["ip", "netns", "exec", self.name, "sh", "-ec", inside, "sh", str(program), *command[1:]]
        env = {"PATH": os.environ["PATH"], "HOME": f"{own}/home", "TMPDIR": own, "PYTHONUNBUFFERED": "1"} | environment
        with log.open("wb") as stream:
            self._processes.append(
                subprocess.Popen(
                    line,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def cut_off(self) -> None:
        """Pull the plug: what is sent in either direction is lost, and nobody is told."""
        _ip("link", "set", self._outside, "down")

    def remove(self) -> None:
        for pid in _ip("netns", "pids", self.name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        for process in self._processes:
            process.wait()
        with contextlib.suppress(NotPermitted):
            _ip("link", "delete", self._outside)
        _ip("netns", "delete", self.name)


class Forwarder:
    """Makes a port of this machine's loopback reachable at another of its addresses, as a context."""

    def __init__(self, address: str, port: int) -> None:
        self._port = port
        self._listener = socket.create_server((address, 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="forwarder", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Gate:
    """A web server that answers once the gate is open, as a context; `waiting` has who has asked, by address."""

    def __init__(self, address: str) -> None:
        self._open, self.waiting = threading.Event(), set[str]()
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gate.waiting.add(str(self.client_address[0]))
                gate._open.wait(300)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_port}/"

    def open(self) -> None:
        self._open.set()

    def shut(self) -> None:
        self._open.clear()
        self.waiting.clear()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="gate", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open()
        self._server.shutdown()
        self._server.server_close()


def left_over(name: str) -> list[str]:
    """Network namespaces and devices of that name that are there."""
    shown: Iterator[str] = iter(_ip("netns", "list").splitlines() + _ip("-o", "link").splitlines())
    return [line for line in shown if name in line]
