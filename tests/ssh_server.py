"""A real ssh server of the tests' own, on the loopback addresses: each is a host of its own to who connects.

Debian's sshd is installed with apt-get at the first use, where the tests may do that. It has its own port, its own keys
and takes nobody but who holds the key made for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import asyncssh

from prefect_batch.interfaces.local_server import stop_process

HOSTS = ("127.0.0.1", "127.0.0.2")
INSTALL_SECONDS = 240.0
START_SECONDS = 60.0


class Unavailable(Exception):
    """There can be no ssh server on this machine, and why."""


@contextlib.contextmanager
def ssh_server(folder: Path) -> Generator[dict[str, Any]]:
    """The server; gives what asyncssh.connect needs to reach it.

    Args:
        folder: of its files, made for it alone.

    Raises Unavailable.
    """
    program = _install()
    for name in ("host", "client"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        key.write_public_key(folder / f"{name}.pub")
        (folder / name).chmod(0o600)
    with socket.socket() as free:
        free.bind((HOSTS[0], 0))
        port = free.getsockname()[1]
    lines = [f"Port {port}", *(f"ListenAddress {host}" for host in HOSTS), f"HostKey {folder / 'host'}", "PidFile none"]
    lines += [f"AuthorizedKeysFile {folder / 'client.pub'}", "StrictModes no", "UsePAM no", "PasswordAuthentication no"]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it shuts its unprivileged half in
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", folder / "sshd_config"], stdout=log, stderr=log)
    try:
        _wait(process, port, folder / "sshd.log")
        keys = {"client_keys": [str(folder / "client")], "known_hosts": None}
        yield {"port": port, "username": getpass.getuser(), **keys}
    finally:
        stop_process(process)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOSTS[-1], port), timeout=1):
            return
        time.sleep(0.05)
    raise Unavailable(f"sshd does not start: {log.read_text()[-400:]}")


def _install() -> str:
    """The program. Raises Unavailable where apt-get cannot."""
    # Another process of the tests may be installing.
    with (Path(tempfile.gettempdir()) / "prefect-batch-tests-sshd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := _program():
            return found
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            raise Unavailable("no sshd here, and only root can install it: apt-get install openssh-server")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        wait = ["-o", f"DPkg::Lock::Timeout={INSTALL_SECONDS:g}"]
        for arguments in (["update"], [*wait, "install", "-y", "--no-install-recommends", "openssh-server"]):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                command = ["apt-get", "-q", *arguments]
                subprocess.run(command, env=environment, capture_output=True, timeout=INSTALL_SECONDS, check=False)
        if found := _program():
            return found
        raise Unavailable("apt-get cannot install openssh-server")


def _program() -> str | None:
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")  # which not everybody's PATH has
