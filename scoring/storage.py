"""Reading and writing job files on any fsspec storage, with the two guarantees that the rest is built on.

`put` makes a file appear whole or not at all; `create` does so only where nothing stood before. Neither waits for the
disk (no fsync): the promise is about processes that die, not about power that fails.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any, cast
from uuid import uuid4

import fsspec  # pyright: ignore[reportMissingTypeStubs]
from fsspec.implementations.local import LocalFileSystem  # pyright: ignore[reportMissingTypeStubs]


class Folder:
    """A folder on some storage, named by its URL; a plain path is a local folder."""

    def __init__(self, url: str) -> None:
        fs, path = cast("tuple[Any, str]", fsspec.url_to_fs(url))  # pyright: ignore[reportUnknownMemberType]
        self.fs: Any = fs
        self.path: str = path.rstrip("/") or "/"

    @property
    def url(self) -> str:
        """A local folder's plain absolute path, or the full URL of a remote one."""
        return self.path if self.is_local else str(self.fs.unstrip_protocol(self.path))

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    def __truediv__(self, name: str) -> Folder:
        other = object.__new__(Folder)
        other.fs, other.path = self.fs, self._at(name)
        return other

    def _at(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    def file_url(self, name: str) -> str:
        return (self / name).url

    def make(self) -> Folder:
        """Create the folder where the storage has such a thing; an existing one is fine."""
        self.fs.makedirs(self.path, exist_ok=True)
        return self

    def exists(self, name: str = "") -> bool:
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self._at(name) if name else self.path))

    def names(self) -> list[str]:
        """Base names of everything in the folder, sorted; [] when it does not exist."""
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(self.path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in found)

    def files(self) -> list[str]:
        """Every file below the folder, as a path relative to it, sorted; [] when it does not exist."""
        self.fs.invalidate_cache()
        return sorted(str(path)[len(self.path) :].lstrip("/") for path in self.fs.find(self.path))

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes [start, end) of a file. Raises FileNotFoundError."""
        return bytes(self.fs.cat_file(self._at(name), start=start, end=end))

    def put(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, replacing what stood there."""
        if not self.is_local:
            self.fs.pipe_file(self._at(name), data)
            return
        target = Path(self._at(name))
        with _beside(target) as temporary:
            temporary.write_bytes(data)
            temporary.replace(target)

    def create(self, name: str, data: bytes) -> None:
        """Write a file whole, only where none stands. Raises FileExistsError."""
        if not self.is_local:
            self.fs.pipe_file(self._at(name), data, mode="create")
            return
        target = Path(self._at(name))
        with _beside(target) as temporary:
            temporary.write_bytes(data)
            os.link(temporary, target)

    @contextlib.contextmanager
    def create_stream(self, name: str) -> Generator[IO[bytes]]:
        """Write a large file; it appears whole when the block ends well. Raises FileExistsError if there is one."""
        if not self.is_local:
            if self.exists(name):
                raise FileExistsError(self.file_url(name))
            stream = self.fs.open(self._at(name), "wb")
            try:
                yield stream
            except BaseException:
                stream.discard()
                raise
            stream.close()
            return
        target = Path(self._at(name))
        with _beside(target) as temporary:
            with temporary.open("wb") as stream:
                yield stream
            os.link(temporary, target)

    def upload(self, local: Path, name: str) -> None:
        """Copy a local file here, whole or not at all."""
        if not self.is_local:
            self.fs.put_file(str(local), self._at(name))
            return
        target = Path(self._at(name))
        with _beside(target) as temporary:
            self.fs.put_file(str(local), str(temporary))
            temporary.replace(target)

    def remove(self, name: str) -> None:
        """Delete a file; a missing one is fine."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self._at(name))

    def remove_all(self) -> None:
        """Delete the folder and all in it; a missing one is fine."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.path, recursive=True)


@contextlib.contextmanager
def _beside(target: Path) -> Generator[Path]:
    """A hidden temporary name in the target's own folder (a rename must not cross file systems), gone at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{uuid4().hex}.tmp"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
