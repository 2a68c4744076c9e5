"""Content-addressed copies of local files on any storage.

<folder>/<digest>/<name>/...    the files, under a name of their own
<folder>/<digest>.json          which they are; written last: a copy is there when this is
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..scoring.errors import BatchError, InvalidDocument
from ..scoring.storage import Folder

AT_ONCE = 16
"""Files on their way at once."""

Progress = Callable[[int, int], object]
"""Takes bytes done and bytes in all."""

_State = tuple[int, int]


def copy(files: Sequence[tuple[str, Path]], name: str, into: Folder, on_progress: Progress | None = None) -> str:
    """Copy local files to where their content says; what is there already is not copied again. Returns the digest.

    Args:
        files: each with its path below `name`; '' for a single file that is to have that name itself.
        name: of the one child of the copy.
        into: the folder of all copies.
        on_progress: called after each file, by one thread at a time.

    Raises InvalidDocument for a file that cannot be read, BatchError for one that is being written to.
    """
    states = [_state(path) for _, path in files]
    digest = _digest(files, name)
    manifest, total = f"{digest}.json", sum(size for size, _ in states)
    if into.exists(manifest):
        if on_progress is not None:
            on_progress(total, total)
        return digest
    copied = _Copy(into / digest, total, on_progress)
    jobs = [
        (path, f"{name}/{relative}" if relative else name, state)
        for (relative, path), state in zip(files, states, strict=True)
    ]
    with ThreadPoolExecutor(max(1, min(AT_ONCE, len(jobs)))) as pool:
        try:
            for done in [pool.submit(copied.one, *job) for job in jobs]:
                done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    listing = {"name": name, "files": [relative for relative, _ in files]}
    into.put(manifest, json.dumps(listing).encode())
    return digest


class _Copy:
    """One copy on its way: whole files that an earlier, broken one left are taken over."""

    def __init__(self, target: Folder, total: int, on_progress: Progress | None) -> None:
        self._target, self._total, self._report = target, total, on_progress
        self._done, self._lock = 0, threading.Lock()
        try:
            self._there = {found.name: found.size for found in target.walk()}
        except FileNotFoundError:
            self._there = {}
        self._count(0)

    def one(self, path: Path, name: str, state: _State) -> None:
        if self._there.get(name) != state[0]:
            self._target.upload(path, name)
        if _state(path) != state:  # its digest was of other bytes
            self._target.remove(name)
            raise BatchError(f"{path} changed while it was being copied: try again when nothing writes to it")
        self._count(state[0])

    def _count(self, size: int) -> None:
        with self._lock:
            self._done += size
            if self._report is not None:
                self._report(self._done, self._total)


def _state(path: Path) -> _State:
    try:
        about = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return about.st_size, about.st_mtime_ns


def _digest(files: Sequence[tuple[str, Path]], name: str) -> str:
    digest = hashlib.sha256(name.encode())
    for relative, path in files:
        try:
            with path.open("rb") as stream:
                digest.update(f"\0{relative}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}".encode())
        except OSError as error:
            raise _unreadable(path, error) from None
    return digest.hexdigest()


def _unreadable(path: Path, error: OSError) -> InvalidDocument:
    return InvalidDocument(f"{path} cannot be read: {error.strerror}: leave it out, or make it readable")
