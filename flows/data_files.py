"""The files of a Python flow's inputs and outputs on this machine.

A local place is used where it lies. Of a remote one this process has a copy: an input's is fetched when it is first
used, an output's is sent by send(), which each task that ran here ends with.
"""

from __future__ import annotations

import atexit
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path

from ..blocks.contents import AT_ONCE
from ..blocks.datastore import open_folder
from ..scoring import scratch
from ..scoring.storage import Folder


class _Copies:
    """Copies that belong to one job."""

    def __init__(self) -> None:
        self._root = scratch.make()
        self._lock = threading.RLock()
        self._read: dict[str, Path] = {}
        self._fetched: dict[Path, int | None] = {}
        self._written: dict[str, Path] = {}
        self._sent: dict[Path, tuple[int, int]] = {}

    def readable(self, reference: str, place: Folder, is_folder: bool, growing: bool) -> Path:
        with self._lock:
            if growing:
                self.send()
            copy = self._read.get(reference, self._new(len(self._read), "read"))
            if reference not in self._read or growing:
                with suppress(FileNotFoundError) if growing and is_folder else nullcontext():  # empty until now
                    self._fetch(place, copy, is_folder)
                self._read[reference] = copy
            return copy if is_folder else copy / _base(reference)

    def _fetch(self, place: Folder, copy: Path, is_folder: bool) -> None:
        """Bring what is not here yet, or is of another size by now."""
        copy.mkdir(parents=True, exist_ok=True)
        if is_folder:
            there = {found.name: (copy / found.name, found.size) for found in place.walk()}
        else:
            there = {"": (copy / _base(place.url), place.stat().size)}
        wanted = {
            name: target for name, (target, size) in there.items() if self._fetched.get(target, -1) not in (size, None)
        }
        for error in place.fetch(list(wanted), list(wanted.values())):
            if error is not None:
                raise error
        self._fetched.update(there.values())

    def writable(self, reference: str) -> Path:
        """The copy of a folder that is written to."""
        with self._lock:
            copy = self._written.setdefault(reference, self._new(len(self._written), "written"))
            copy.mkdir(parents=True, exist_ok=True)
            return copy

    def _new(self, number: int, kind: str) -> Path:
        return self._root / f"{kind}-{number}"

    def send(self) -> None:
        """Send what was written here since the last time. Raises OSError, StorageFailed."""
        with self._lock, ThreadPoolExecutor(AT_ONCE) as pool:
            sent = [
                pool.submit(self._send, open_folder(reference), copy, path)
                for reference, copy in self._written.items()
                for path in copy.rglob("*")
                if path.is_file() and self._sent.get(path) != _state(path)
            ]
            for one in sent:
                one.result()

    def _send(self, place: Folder, copy: Path, path: Path) -> None:
        state = _state(path)
        place.upload(path, path.relative_to(copy).as_posix())
        self._sent[path] = state

    def release(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


_copies: dict[str | None, _Copies] = {}
_lock = threading.Lock()


def readable(reference: str, is_folder: bool, job: str | None) -> Path:
    """The local path of data. Raises FileNotFoundError, OSError, StorageFailed.

    Args:
        reference: of the folder, or of the file itself.
        is_folder: which of both it is.
        job: reference of the folder of the job that the copy is let go with. What lies in that folder may be written to
            while the job runs, and is looked at again each time.
    """
    place = open_folder(reference)
    if place.is_local:
        return Path(place.path)
    growing = job is not None and reference.startswith(f"{job}/")
    return _of(job).readable(reference, place, is_folder, growing)


def writable(reference: str, is_folder: bool, job: str | None) -> Path:
    """The local path to write to: of a folder that is there, or of a file in one that is. See readable()."""
    place = open_folder(reference)
    if not place.is_local:
        if is_folder:
            return _of(job).writable(reference)
        return _of(job).writable(reference.rpartition("/")[0]) / _base(reference)
    path = Path(place.path)
    (path if is_folder else path.parent).mkdir(parents=True, exist_ok=True)
    return path


def send(job: str | None) -> None:
    """Send what was written on this machine to the job's remote folders. Raises OSError, StorageFailed."""
    with _lock:
        copies = _copies.get(job)
    if copies is not None:
        copies.send()


def release(job: str | None) -> None:
    """Remove the copies that belong to a job; one that has none is fine."""
    with _lock:
        copies = _copies.pop(job, None)
    if copies is not None:
        copies.release()


def _of(job: str | None) -> _Copies:
    with _lock:
        if job not in _copies:
            _copies[job] = _Copies()
        return _copies[job]


@atexit.register
def _release_all() -> None:
    for job in list(_copies):
        release(job)


def _base(reference: str) -> str:
    return reference.rstrip("/").rpartition("/")[2]


def _state(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns
