"""Pointers to data: what the request names, resolved and listed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..scoring.errors import AlreadyExists, InvalidDocument, NoItems, NotFound
from ..scoring.storage import Folder

WORKING_DIRECTORY = "PREFECT_BATCH_WORKING_DIRECTORY"
"""Environment variable of a worker: the folder that relative paths of requests mean."""


def single(what: str, given: Mapping[str, str]) -> str | None:
    """The one value of a model job's inputs or outputs, whatever its name. Raises InvalidDocument for two."""
    if len(given) > 1:
        raise InvalidDocument(
            f"{what}: a model deployment takes one, {len(given)} were given ({', '.join(sorted(given))})"
        )
    return next(iter(given.values()), None)


def resolve(given: str) -> str:
    """An absolute local path. A relative one is taken from where the worker was started.

    Raises InvalidDocument for what is not a local path, or for a relative one that means nothing here.
    """
    path = given.removeprefix("file://")
    if "://" in path or path.startswith("azureml:"):
        raise InvalidDocument(f"{given!r} is not a local path: copy the data to a folder and give its path")
    expanded = Path(path).expanduser()
    if expanded.is_absolute():
        return os.path.normpath(expanded)
    base = os.environ.get(WORKING_DIRECTORY)
    if base is None:
        raise InvalidDocument(
            f"{given!r} is relative, and this worker was not told to what: give an absolute path, or start the "
            "worker with `prefect-batch worker start` in the folder that relative paths mean"
        )
    return os.path.normpath(Path(base) / expanded)


def resolve_input(given: str | None) -> str:
    """An existing local file or folder. Raises InvalidDocument, NotFound."""
    if not given:
        raise InvalidDocument('inputs: nothing was given: name the data, as in inputs={"data": "path/to/folder"}')
    path = Path(resolve(given))
    if not path.exists():
        raise NotFound(f"inputs: {given!r} does not exist (looked for {path})")
    if not os.access(path, os.R_OK):
        raise NotFound(f"inputs: {given!r} may not be read by user {os.getuid()} ({path})")
    return str(path)


def check_output(url: str, file_name: str | None) -> None:
    """Refuse an output that something stands in the way of: the file itself, or anything where the script writes.

    Args:
        url: the output folder.
        file_name: of the predictions; None when only the script writes there.

    Raises AlreadyExists, InvalidDocument.
    """
    if Path(url).exists() and not Path(url).is_dir():
        raise InvalidDocument(f"outputs: {url} is a file: name a folder")
    folder = Folder(url)
    taken = folder.exists(file_name) if file_name else bool(folder.names())
    if taken:
        what = folder.file_url(file_name) if file_name else f"{url} is not empty and"
        raise AlreadyExists(f"outputs: {what} exists already and is not overwritten: name another output folder")


def list_items(url: str) -> tuple[str, Iterator[str]]:
    """The folder that items are named in, and their names: the one file, or every file below a folder, in order.

    Folders are walked recursively. Hidden files and those starting with an underscore (`_SUCCESS`) are skipped, as
    readers of data folders do. The order is that of the names, folder by folder: it is the order of the output.

    Raises NoItems (at the first step of the iterator) when there is none, and NotFound for what may not be read.
    """
    path = Path(url)
    if path.is_file():
        return str(path.parent), iter([path.name])
    return str(path), _walk(path)


def _walk(root: Path) -> Iterator[str]:
    found = False
    for name in _files(root, "", set()):
        found = True
        yield name
    if not found:
        raise NoItems(f"{root} holds no file to score: point the job at a folder with at least one file")


def _files(folder: Path, prefix: str, above: set[tuple[int, int]]) -> Iterator[str]:
    try:
        about = folder.stat()
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith((".", "_")))
    except OSError as error:
        raise NotFound(f"{folder} cannot be read: {error.strerror}") from None
    identity = (about.st_dev, about.st_ino)
    if identity in above:
        return  # a link back to a folder that we are in
    for name in names:
        path = folder / name
        try:
            mode = path.stat().st_mode
        except OSError:
            mode = stat.S_IFREG  # a dangling link: an item that fails, with its name
        if stat.S_ISDIR(mode):
            yield from _files(path, f"{prefix}{name}/", above | {identity})
        elif stat.S_ISREG(mode):
            yield prefix + name


def check_inside(source: str, written: list[str]) -> None:
    """Refuse a job that would find its own files in its input. Raises InvalidDocument."""
    for url in written:
        if Path(url).resolve().is_relative_to(Path(source).resolve()):
            raise InvalidDocument(f"inputs: {source} holds {url}, which the job writes to: keep them apart")
