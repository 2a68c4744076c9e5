"""Copying files between a storage and the local disk, and reading parts of large ones."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, cast
from uuid import uuid4

from fsspec.asyn import sync  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from fsspec.callbacks import Callback  # pyright: ignore[reportMissingTypeStubs]
from fsspec.implementations.local import LocalFileSystem  # pyright: ignore[reportMissingTypeStubs]

from . import retries
from .errors import JobReleased

BLOCK = 8 * 2**20
"""Bytes of one request for a part of a large file."""

PARTS = 2
"""Requests at once for the parts of one file; with 16 files at once this bounds the memory to about 256 MB."""

_MOST_PARTS = 9000  # S3 takes 10 000
_LOOK_SECONDS = 0.5

Stopped = Callable[[], bool]
"""Whether nobody wants the files any more."""


def never() -> bool:
    """The `Stopped` of a fetch that goes on to its end."""
    return False


_loop_bounds: weakref.WeakKeyDictionary[Any, dict[tuple[str, int], asyncio.Semaphore]] = weakref.WeakKeyDictionary()
_thread_bounds: dict[tuple[str, int], threading.Semaphore] = {}


@contextlib.contextmanager
def beside(target: Path) -> Generator[Path]:
    """A hidden temporary name in the target's own folder (a rename must not cross file systems), gone at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{uuid4().hex}.tmp"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def is_of(fs: Any, *protocols: str) -> bool:
    """Whether a filesystem speaks one of these protocols."""
    own: str | Sequence[str] = fs.protocol
    return any(protocol in protocols for protocol in ((own,) if isinstance(own, str) else own))


def fetch(
    fs: Any, paths: Sequence[str], targets: Sequence[Path], limit: int, stopped: Stopped = never
) -> list[Exception | None]:
    """Copy files to local paths; each entry of the result is that file's error, JobReleased for one given up.

    Args:
        fs: the fsspec filesystem.
        paths: on it.
        targets: local paths, as many; their folders are made, and a file appears whole or not at all.
        limit: at most so many files at once, over all calls of this process for the same storage.
        stopped: asked about twice a second, or where the filesystem has but threads, before each file.
    """
    pairs: list[tuple[str, Path]] = list(zip(paths, targets, strict=True))
    if fs.async_impl and not isinstance(fs, LocalFileSystem):
        return cast("list[Exception | None]", sync(fs.loop, _fetch_all, fs, pairs, limit, stopped))

    def one(pair: tuple[str, Path]) -> Exception | None:
        return JobReleased() if stopped() else _fetch_one(fs, *pair, limit)

    with ThreadPoolExecutor(max(1, min(limit, len(pairs)))) as pool:
        return list(pool.map(one, pairs))


async def _fetch_all(fs: Any, pairs: list[tuple[str, Path]], limit: int, stopped: Stopped) -> list[Exception | None]:
    bounds = _loop_bounds.setdefault(asyncio.get_running_loop(), {})
    bound = bounds.setdefault((fs._fs_token, limit), asyncio.Semaphore(limit))

    async def one(path: str, target: Path) -> Exception | None:
        async with bound:
            try:
                await retries.acall(lambda: _transfer(fs, path, target))
            except Exception as error:
                return error
            return None

    tasks = [asyncio.ensure_future(one(*pair)) for pair in pairs]
    waiting = set(tasks)
    while waiting:
        if stopped():
            for task in waiting:
                task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=_LOOK_SECONDS)
    return [JobReleased() if task.cancelled() else task.result() for task in tasks]


async def _transfer(fs: Any, path: str, target: Path) -> None:
    told = Callback()
    with beside(target) as temporary:
        await fs._get_file(path, str(temporary), callback=told, **_get_options(fs))
        _complete(path, temporary, cast("int | None", told.size))  # pyright: ignore[reportUnknownMemberType]
        temporary.replace(target)


def _get_options(fs: Any) -> dict[str, Any]:
    if is_of(fs, "s3"):
        return {"chunksize": BLOCK, "max_concurrency": PARTS}
    if is_of(fs, "abfs"):
        return {"max_concurrency": PARTS}
    return {}


def put_options(fs: Any, size: int) -> dict[str, Any]:
    """Options of `put_file` that bound its memory, for a file of `size` bytes."""
    if is_of(fs, "s3"):
        return {"chunksize": max(2 * BLOCK, -(-size // _MOST_PARTS)), "max_concurrency": PARTS}
    if is_of(fs, "abfs"):
        return {"max_concurrency": PARTS}
    return {}


def _fetch_one(fs: Any, path: str, target: Path, limit: int) -> Exception | None:
    bound = _thread_bounds.setdefault((str(fs._fs_token), limit), threading.Semaphore(limit))

    def transfer() -> None:
        told = Callback()
        with beside(target) as temporary:
            if isinstance(fs, LocalFileSystem):
                shutil.copyfile(path, temporary)
            else:
                fs.get_file(path, str(temporary), callback=told)
                _complete(path, temporary, cast("int | None", told.size))  # pyright: ignore[reportUnknownMemberType]
            temporary.replace(target)

    with bound:
        try:
            retries.call(transfer)
        except Exception as error:
            return error
        return None


def _complete(path: str, arrived: Path, size: int | None) -> None:
    if not arrived.is_file():
        raise IsADirectoryError(path)  # fsspec makes a folder of a folder
    if path.startswith(("http://", "https://")):
        return  # the client itself notices a short body, and the size told may be that of compressed data
    if size is not None and arrived.stat().st_size != size:
        raise retries.ShortTransfer(f"{arrived.stat().st_size} bytes arrived of {size}")


def same_bytes(one: IO[bytes], other: IO[bytes]) -> bool:
    """Whether two streams hold the same from here on."""
    while block := one.read(BLOCK):
        if other.read(len(block)) != block:
            return False
    return not other.read(1)


class RangeReader(io.RawIOBase):
    """A large file read in ranges: wrapped into a BufferedReader, it holds a block of it in memory.

    Args:
        read_range: returns the bytes [start, end); a shorter answer means that the file shrank.
        size: bytes of the file.
    """

    def __init__(self, read_range: Callable[[int, int], bytes], size: int) -> None:
        self._read_range = read_range
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        with memoryview(buffer).cast("B") as view:
            end = min(self._at + len(view), self._size)
            if end <= self._at:
                return 0
            data = self._read_range(self._at, end)
            view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readall(self) -> bytes:
        return b"".join(self._blocks())

    def _blocks(self) -> Iterator[bytes]:
        while data := self.read(BLOCK):
            yield data
