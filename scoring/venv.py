"""Virtual environments for scoring processes: built once a machine, kept in a cache, shared by all workers there.

An environment's folder is named for what is in it, so that one that is there never changes. It is built in its place,
under a lock, and its record is written last: a folder without one is what a killed builder left, and is built anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import builder
from .errors import BuildFailed
from .storage_errors import Redaction

CACHE = "PREFECT_BATCH_ENVIRONMENTS"
"""Environment variable of a worker: the folder that environments are built in."""
MINIMUM = (3, 10)
"""The oldest Python that a scoring process runs in."""
_FORMAT = 1
"""Of the folder; another number builds all anew."""
_RECORD, _PYTHON = "built.json", "venv/bin/python"
_LOGIN = re.compile(r"(https?://)[^/@\s]+@")
_DIGEST = re.compile("[0-9a-f]{32}")

Say = Callable[[str], None]
"""Receives one line, without its end."""


@dataclass(frozen=True)
class Recipe:
    """What makes an environment what it is."""

    python: str
    """`3.11`."""
    requirements: tuple[str, ...]
    """Lines of a requirements file."""
    constraints: tuple[str, ...] = ()
    """Lines of a constraints file."""

    @property
    def digest(self) -> str:
        """The same for the same environment on machines of one kind."""
        kind = [_FORMAT, platform.system(), platform.machine()]
        return hashlib.sha256(json.dumps([kind, asdict(self)]).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Interpreter:
    """A Python that scoring processes may run in."""

    executable: str
    version: str
    """`3.11.7`."""
    packages: dict[str, str]
    """Versions of what is installed, by normalised name (`scikit-learn`)."""


def cache() -> Path:
    """The folder of all environments of this user on this machine."""
    if given := os.environ.get(CACHE):
        return Path(given).expanduser().absolute()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    with contextlib.suppress(OSError):
        own = home / "prefect-batch" / "environments"
        own.mkdir(parents=True, exist_ok=True)
        if os.access(own, os.W_OK):
            return own
    return Path(tempfile.gettempdir()) / f"prefect-batch-environments-{os.getuid()}"


def find(recipe: Recipe) -> Interpreter | None:
    """The environment, if it is there; counts as used now."""
    record = cache() / recipe.digest / _RECORD
    try:
        about = json.loads(record.read_bytes())
    except (OSError, ValueError):  # the latter of a machine that lost its power
        return None
    if not (record.parent / _PYTHON).exists():  # removed by hand, or the Python that it was made of was
        return None
    with contextlib.suppress(OSError):  # the cache of somebody else
        os.utime(record)
    return Interpreter(str(record.parent / _PYTHON), about["version"], about["packages"])


def build(recipe: Recipe, say: Say, needs: Sequence[str] = ()) -> Interpreter:
    """The environment, built unless it is there. Of two who build it at once, one waits.

    Args:
        recipe: what to build.
        say: receives the builder's log as it comes.
        needs: packages that it must come to have, or no scoring process can run in it.

    Raises BuildFailed with the log.
    """
    if (found := find(recipe)) is None:
        try:
            with _locked(recipe.digest, say) as lock:
                found = find(recipe) or _build(recipe, say, lock)
        except OSError as error:
            raise BuildFailed(f"the environment cannot be built in {cache()}: {error}") from None
    check(found, needs)
    return found


def inspect(executable: str) -> Interpreter:
    """A Python that is there already. Raises BuildFailed where it is none."""
    try:
        done = subprocess.run(
            [executable, "-I", "-c", _ABOUT],
            capture_output=True,
            text=True,
            timeout=120,
            env=builder.environment(),
            check=True,
        )
        about: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        reason = str(getattr(error, "stderr", None) or error).strip()
        raise BuildFailed(f"environment.python: {executable} is no Python that can be started here: {reason}") from None
    return Interpreter(executable, about["version"], about["packages"])


def check(interpreter: Interpreter, needs: Sequence[str]) -> None:
    """Refuse a Python that is too old, or lacks packages that a scoring process imports. Raises BuildFailed."""
    version = tuple(int(part) for part in interpreter.version.split(".")[:2])
    if version < MINIMUM:
        oldest = ".".join(map(str, MINIMUM))
        raise BuildFailed(
            f"{interpreter.executable} is Python {interpreter.version}: scoring processes need {oldest} or newer"
        )
    if lacking := [name for name in needs if name not in interpreter.packages]:
        raise BuildFailed(
            f"{interpreter.executable} lacks {', '.join(lacking)}, which scoring processes import: add "
            f"{'it' if len(lacking) == 1 else 'them'} to the environment"
        )


def prune(days: float) -> list[str]:
    """Remove environments that no job has used for so many days, and what killed builders left; returns what went.

    Those that are being built stay, and so does what is no environment: the folder is one that a user named.
    """
    gone: list[str] = []
    for folder in sorted(path for path in cache().glob("*") if _DIGEST.fullmatch(path.name) and path.is_dir()):
        with _lock_file(folder.name) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            record = folder / _RECORD
            if not record.exists() or record.stat().st_mtime < time.time() - days * 86400:
                record.unlink(missing_ok=True)  # first: without it nobody takes the rest for an environment
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder.name)
    return gone


@contextlib.contextmanager
def _lock_file(digest: str) -> Generator[int]:
    cache().mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(cache() / f"{digest}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield lock
    finally:
        os.close(lock)


@contextlib.contextmanager
def _locked(digest: str, say: Say) -> Generator[int]:
    """The lock on one environment; its descriptor is for the builder's children, which then hold it as well."""
    with _lock_file(digest) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another process is building this environment: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _build(recipe: Recipe, say: Say, lock: int) -> Interpreter:
    folder = cache() / recipe.digest
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    started = time.monotonic()
    say(f"Building an environment of Python {recipe.python} and {len(recipe.requirements)} requirements in {folder}")
    try:
        for name, lines in (("requirements.txt", recipe.requirements), ("constraints.txt", recipe.constraints)):
            (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for command, variables in builder.commands(recipe.python, folder, bool(recipe.constraints)):
            _run(command, variables, folder, say, lock)
        built = inspect(str(folder / _PYTHON))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    about = json.dumps({"version": built.version, "packages": built.packages})
    (folder / "partial").write_text(about)
    (folder / "partial").rename(folder / _RECORD)
    say(f"The environment was built in {time.monotonic() - started:.1f} s")
    return built


def _run(command: list[str], variables: dict[str, str], folder: Path, say: Say, lock: int) -> None:
    """Run one of the builder's commands. Raises BuildFailed with all that it printed."""
    shown = shlex.join([Path(command[0]).name, *command[1:]])
    say(f"$ {shown}")
    printed: list[str] = []
    redact = Redaction()  # pip shows what it made of ${PASSWORD}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(lock,),  # nobody builds in its place while it runs on without us
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                printed.append(_LOGIN.sub(r"\1***@", redact(line.rstrip())))
                say(printed[-1])
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        log = "\n".join(printed)
        raise BuildFailed(f"the environment cannot be built: `{shown}` exited with {process.returncode}:\n{log}")


def installed(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The version of this process's Python, and of those packages that it has."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return platform.python_version(), found


_ABOUT = """
import json, platform, re
from importlib.metadata import distributions
names = {}
for one in distributions():
    name = one.metadata["Name"]
    if name and one.version:
        names.setdefault(re.sub("[-_.]+", "-", name).lower(), one.version)
print(json.dumps({"version": platform.python_version(), "packages": names}))
"""
"""Told to any Python from 3.8 on."""
