"""Reading and writing files on any fsspec storage, with the guarantees that the rest is built on.

`put` makes a file appear whole or not at all; `create` and `create_stream` do so only where nothing stood before.
This holds on local disks, S3, Azure and Google storage; on others (sftp, smb, memory, S3 servers that do not know
If-None-Match) it is as good as what fsspec makes of them. None waits for the disk (no fsync): the promise is about
processes that die, not about power that fails.

Every operation is tried again after errors that pass by themselves (see retries.py). What is left is raised as
FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError (the storage says "you may
not") or StorageFailed; none holds a credential.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

from fsspec.implementations.local import LocalFileSystem  # pyright: ignore[reportMissingTypeStubs]

from . import retries, scratch, storage_http, storage_listing, storage_s3
from .errors import StorageFailed
from .storage_connect import connect
from .storage_errors import Redaction, telling_when_full, translate
from .storage_listing import Found, Skip, Stat, keep_all
from .storage_transfer import BLOCK, RangeReader, Stopped, beside, fetch, is_of, never, put_options, same_bytes

T = TypeVar("T")

OBJECT_STORES = ("s3", "abfs", "gs", "memory")  # no folders there, only names with slashes


class Folder:
    """A folder on some storage.

    A Folder may hold credentials and cannot be pickled: send its URL or reference, and open it there.

    Args:
        url: a plain path is a local folder.
        options: for the fsspec filesystem, such as credentials.
        secrets: texts that must never show in an error.

    Raises StorageFailed for a kind of storage that is not known or whose package is missing.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None, secrets: Iterable[str] = ()) -> None:
        self._redact = Redaction(secrets)
        self.fs: Any
        self.path: str
        self.fs, path = connect(url, options or {}, self._redact)
        self.path = path.rstrip("/") or "/"
        self.url: str = self.path if self.is_local else url.rstrip("/")
        """A local folder's plain absolute path, or the full URL of a remote one."""
        self._is_page = self._is_http and url.endswith("/")

    def __repr__(self) -> str:
        return f"Folder({self._redact(self.url)!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} may hold credentials and cannot be pickled: send its URL and open it again there")

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    @property
    def _is_http(self) -> bool:
        return is_of(self.fs, "http", "https")

    @property
    def _is_object_store(self) -> bool:
        return is_of(self.fs, *OBJECT_STORES)

    def __truediv__(self, name: str) -> Folder:
        other = object.__new__(Folder)
        other.fs, other.path, other.url = self.fs, self._at(name), self.file_url(name)
        other._redact, other._is_page = self._redact, self._is_page
        return other

    def _at(self, name: str) -> str:
        """The path of a file on the filesystem; that of the folder itself for an empty name."""
        if not name:
            return self.path
        if self._is_http:
            return storage_http.join(self.path, name)
        path = f"{self.path.rstrip('/')}/{name}"
        if not self.is_local and str(self.fs._strip_protocol(path)).strip("/") != path.strip("/"):
            shown = self._redact(self.file_url(name))
            raise StorageFailed(f"{shown!r}: this kind of storage cannot hold a file of such a name")
        return path

    def file_url(self, name: str) -> str:
        if self._is_http:
            return self._at(name)
        return f"{self.url.rstrip('/')}/{name}" if name else self.url

    def _run(self, what: str, name: str, operation: Callable[[], T]) -> T:
        """The operation's result, tried again where that helps. Raises what the module promises, and nothing else."""
        try:
            return operation() if self.is_local else retries.call(operation)
        except Exception as error:
            failed = translate(error, what, self.file_url(name), self._redact)
        raise failed  # outside of the except block, or the storage's own error would hang on to it

    def _writable(self) -> None:
        if self._is_http:
            raise StorageFailed(f"{self._redact(self.url)} can only be read: name a folder on another storage")

    def make(self) -> Folder:
        """Create the folder where the storage has such a thing; an existing one is fine."""
        self._writable()
        if not self._is_object_store:
            self._run("make", "", lambda: self.fs.makedirs(self.path, exist_ok=True))
        return self

    def exists(self, name: str = "") -> bool:
        try:
            self.stat(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def stat(self, name: str = "") -> Stat:
        """What stands under a name; on an object store a name with others below it is a folder.

        Raises FileNotFoundError.
        """
        path = self._at(name)
        if self.is_local:
            about = self._run("look at", name, Path(path).stat)
            is_dir = Path(path).is_dir()
            return Stat(is_dir, None if is_dir else about.st_size)
        if self._is_http:
            url = path + "/" if self._is_page and not name else path
            return self._run("look at", name, lambda: Stat(*storage_http.size(self.fs, url)))
        return self._run("look at", name, lambda: Stat(*storage_listing.look(self.fs, path, self._is_object_store)))

    def stamp(self, name: str = "") -> str | None:
        """What changes when a file does, where the storage tells. Raises FileNotFoundError."""
        return self._run("look at", name, lambda: storage_listing.stamp_of(self.fs.info(self._at(name))))

    def names(self) -> list[str]:
        """Base names of everything in the folder, sorted; [] when it does not exist."""
        names = storage_http.names if self._is_http else storage_listing.base_names
        try:
            return sorted(self._run("list", "", lambda: names(self.fs, self.path)))
        except FileNotFoundError:
            return []

    def files(self) -> list[str]:
        """Every file below the folder, as a path relative to it, sorted; [] when it does not exist."""
        try:
            return sorted(found.name for found in self.walk())
        except FileNotFoundError:
            return []

    def walk(self, skip: Skip = keep_all) -> Iterator[Found]:
        """Every file below the folder, folder by folder in the order of their names: the same on every storage.

        Local disks, web servers and storages with folders are listed folder by folder as the iterator goes on; an
        object store is listed at once. What only marks a folder on an object store is left out.

        Args:
            skip: true for the base names of files and folders to leave out.

        Raises FileNotFoundError, NotADirectoryError for a file, PermissionError, StorageFailed; all at a step.
        """
        if self.is_local:
            yield from self._translated(storage_listing.walk_local(Path(self.path), skip))
        elif self._is_http:
            self._check_folder()
            yield from storage_http.walk(self.fs, self.path, skip, self._run_at)
        elif not self._is_object_store:
            yield from storage_listing.walk_folders(self.fs, self.path, skip, self._run_at)
        else:
            found = storage_listing.walk_objects(self.fs, self.path, skip, self._run_at)
            first = next(found, None)
            if first is None:
                self._check_folder()
            else:
                yield first
                yield from found

    def _check_folder(self) -> None:
        if not self.stat().is_dir:
            raise self._error(errno.ENOTDIR)

    def _error(self, number: int, name: str = "") -> OSError:
        return OSError(number, os.strerror(number), self._redact(self.file_url(name)))

    def _run_at(self, what: str, path: str, operation: Callable[[], T]) -> T:
        name = path.removeprefix(self.path).strip("/")
        return self._run(what, name, operation)

    def _translated(self, found: Iterator[Found]) -> Iterator[Found]:
        while (entry := self._run("list", "", lambda: next(found, None))) is not None:
            yield entry

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes [start, end) of a file. Raises FileNotFoundError."""
        path = self._at(name)
        return self._run("read", name, lambda: self._read(path, start, end))

    def _read(self, path: str, start: int | None, end: int | None) -> bytes:
        data = bytes(self.fs.cat_file(path, start=start, end=end))
        if start is not None and end is not None and len(data) > end - start:
            return data[start:end]  # a web server that sends the whole file whatever it is asked for
        return data

    def gives_ranges(self, name: str) -> bool:
        """Whether a part of the file travels without the rest of it, as not every web server lets it."""
        path = self._at(name)
        return not self._is_http or self._run("look at", name, lambda: storage_http.head(self.fs, path)).ranges

    def open(self, name: str = "") -> IO[bytes]:
        """A large file, to read parts of it: seekable, with a few MB of it in memory.

        It is read in ranges; from a web server that serves none it is copied to a temporary file first. A file that
        is replaced while it is read may be seen half old and half new.

        Raises FileNotFoundError, IsADirectoryError.
        """
        path = self._at(name)
        if self.is_local:
            return self._run("read", name, lambda: Path(path).open("rb"))
        is_dir, size = self.stat(name)
        if is_dir:
            raise self._error(errno.EISDIR, name)
        if size is None or not self.gives_ranges(name):
            return self._open_copy(name)

        def read_range(start: int, end: int) -> bytes:
            data = self.read(name, start, end)
            if len(data) != end - start:
                raise StorageFailed(f"{self._redact(self.file_url(name))} changed while it was read: run it again")
            return data

        return io.BufferedReader(RangeReader(read_range, size), BLOCK)

    def _open_copy(self, name: str) -> IO[bytes]:
        with scratch.folder() as directory:
            copy = directory / "copy"
            (error,) = self.fetch([name], [copy])
            if error is not None:
                raise error
            return copy.open("rb")

    def fetch(
        self, names: Sequence[str], targets: Sequence[Path], limit: int = 16, stopped: Stopped = never
    ) -> list[Exception | None]:
        """Copy files to local paths, whose folders are made. Each entry of the result is that file's error.

        A file appears at its target whole or not at all.

        Args:
            names: relative to the folder.
            targets: local paths, as many.
            limit: at most so many files at once, over all Folders of this process on the same storage.
            stopped: ends it early when it becomes true; what has not arrived then is JobReleased.
        """
        results: list[Exception | None] = [None] * len(names)
        wanted: list[int] = []
        for number, name in enumerate(names):
            try:
                self._at(name)
                wanted.append(number)
            except StorageFailed as error:
                results[number] = error
        paths = [self._at(names[number]) for number in wanted]
        errors = fetch(self.fs, paths, [targets[number] for number in wanted], limit, stopped)
        for number, error in zip(wanted, errors, strict=True):
            if error is not None:
                results[number] = translate(error, "fetch", self.file_url(names[number]), self._redact)
        return results

    def put(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, replacing what stood there."""
        self._writable()
        path = self._at(name)
        if self.is_local:
            self._place(name, lambda temporary: temporary.write_bytes(data))
        else:
            self._run("write", name, lambda: self.fs.pipe_file(path, data))

    def _place(self, name: str, fill: Callable[[Path], object], new: bool = False) -> None:
        """Fill a hidden file beside a local one, then give it that one's name; if `new`, only where none stands."""
        target = Path(self._at(name))

        def write() -> None:
            with beside(target) as temporary:
                fill(temporary)
                if new:
                    os.link(temporary, target)
                else:
                    temporary.replace(target)

        self._run("write", name, write)

    def create(self, name: str, data: bytes) -> None:
        """Write a file whole, only where none stands.

        When an answer is lost and the next attempt finds a file with exactly these bytes, it counts as ours: put
        something into it that no other writer would.

        Raises FileExistsError.
        """
        self._writable()
        path = self._at(name)
        if self.is_local:
            self._place(name, lambda temporary: temporary.write_bytes(data), new=True)
            return
        write: Callable[[], None] = lambda: self.fs.pipe_file(path, data, mode="create")  # noqa: E731
        self._create(name, write, lambda: self._read(path, None, None) == data)

    def _create(self, name: str, write: Callable[[], None], is_ours: Callable[[], bool]) -> None:
        unanswered = False

        def attempt() -> None:
            nonlocal unanswered
            try:
                write()
            except FileExistsError:
                if not (unanswered and is_ours()):
                    raise
            except Exception as error:
                unanswered = unanswered or retries.is_transient(error)
                raise

        self._run("write", name, attempt)

    @contextlib.contextmanager
    def create_stream(self, name: str) -> Generator[IO[bytes]]:
        """Write a large file; it appears whole when the block ends well, and not at all otherwise.

        It is gathered in a temporary file (beside it on a local disk, in the temporary folder for a remote storage,
        which needs room for it) and sent when the block has ended: nothing of a block that raises reaches the storage.

        Raises FileExistsError if there is one, before the block or after it.
        """
        self._writable()
        path = self._at(name)
        if self.exists(name):
            raise self._error(errno.EEXIST, name)
        if not self.is_local:
            with telling_when_full(self.file_url(name), self._redact), scratch.folder() as directory:
                gathered = directory / "file"
                with gathered.open("wb") as stream:
                    yield stream
                self._send_new(gathered, name)
            return
        with telling_when_full(self.file_url(name), self._redact), beside(Path(path)) as temporary:
            with temporary.open("wb") as stream:
                yield stream
            self._run("write", name, lambda: os.link(temporary, path))

    def _send_new(self, local: Path, name: str) -> None:
        path, options = self._at(name), put_options(self.fs, local.stat().st_size)
        self._create(
            name,
            lambda: self.fs.put_file(str(local), path, mode="create", **options),
            lambda: self._same(local, name),
        )

    def _same(self, local: Path, name: str) -> bool:
        if self.stat(name).size != local.stat().st_size:
            return False
        with local.open("rb") as mine, self.open(name) as theirs:
            return same_bytes(mine, theirs)

    def upload(self, local: Path, name: str, new: bool = False) -> None:
        """Copy a local file here, whole or not at all, replacing what stood there.

        Raises FileExistsError if it is to be `new` and there is one.
        """
        self._writable()
        path = self._at(name)
        if self.is_local:
            self._place(name, lambda temporary: shutil.copyfile(local, temporary), new)
            return
        if new:
            self._send_new(local, name)
            return
        options = put_options(self.fs, local.stat().st_size)
        self._run("write", name, lambda: self.fs.put_file(str(local), path, **options))

    def abandon_uploads(self, is_ours: Callable[[str], bool]) -> None:
        """Give up what a killed process left unfinished, to the names that are ours: S3 keeps it, and bills it."""
        if is_of(self.fs, "s3"):
            self._run("write", "", lambda: storage_s3.abandon_uploads(self.fs, self.path, is_ours))

    def remove(self, name: str) -> None:
        """Delete a file; a missing one is fine."""
        self._writable()
        with contextlib.suppress(FileNotFoundError):
            self._run("delete", name, lambda: self.fs.rm_file(self._at(name)))
