"""Every file below a folder, in the same order on every storage: folder by folder, by name."""

from __future__ import annotations

import itertools
import os
import stat as modes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")

Skip = Callable[[str], bool]
Run = Callable[[str, str, Callable[[], T]], T]
"""Calls an operation on a storage: what is tried, on which path, the operation."""


class Stat(NamedTuple):
    """What stands under a name: a folder, or a file of so many bytes (None where the storage does not tell)."""

    is_dir: bool
    size: int | None


@dataclass(slots=True)
class Found:
    """A file below a folder: its path relative to the folder, and bytes where the listing tells."""

    name: str
    size: int | None
    stamp: str | None = field(default=None, compare=False)
    """What changes when the file does, where the listing tells."""


def stamp_of(about: Mapping[str, Any]) -> str | None:
    """The stamp in what a storage says of a file: its checksum, version or time."""
    return next((str(about[key]) for key in _STAMPS if about.get(key)), None)


_STAMPS = (
    *("ETag", "etag", "generation", "md5Hash", "Content-MD5", "Digest"),
    *("mtime", "LastModified", "last_modified", "Last-Modified", "modified", "created"),
)


def keep_all(_: str) -> bool:
    """The `skip` that skips nothing."""
    return False


def order(name: str) -> list[str]:
    """The sort key of a relative path: component by component, as a walk through the folders meets them."""
    return name.split("/")


def walk_local(
    folder: Path, skip: Skip, prefix: str = "", above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[Found]:
    """Regular files, through links; a dangling link is an item without a size, so that it fails under its name.

    Args:
        folder: where to look.
        skip: true for the base names of files and folders to leave out.
        prefix: of the names, ending in "/".
        above: device and inode of the folders that we are in.

    Raises OSError for a folder that cannot be read.
    """
    about = folder.stat()
    identity = (about.st_dev, about.st_ino)
    if identity in above:
        return  # a link back to a folder that we are in
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not skip(entry.name))
    for name in names:
        path = folder / name
        try:
            about = path.stat()
        except FileNotFoundError:
            if path.is_symlink():
                yield Found(prefix + name, None)
            continue  # deleted while we looked
        except OSError:
            yield Found(prefix + name, None)
            continue
        if modes.S_ISDIR(about.st_mode):
            yield from walk_local(path, skip, f"{prefix}{name}/", above | {identity})
        elif modes.S_ISREG(about.st_mode):
            yield Found(prefix + name, about.st_size, str(about.st_mtime_ns))


def walk_objects(fs: Any, root: str, skip: Skip, run: Run[dict[str, Any]]) -> Iterator[Found]:
    """The files of an object store, by one flat listing, without what only marks a folder."""
    entries = run("list", root, lambda: _find(fs, root))
    inside = root.strip("/") + "/"
    found: list[Found] = []
    for path, about in entries.items():
        name = path.lstrip("/").removeprefix(inside)
        is_inside = path.lstrip("/") not in (inside, name)
        if is_inside and not name.endswith("/") and about["type"] == "file":
            found.append(Found(name, about.get("size"), stamp_of(about)))
    entries.clear()
    found.sort(key=lambda entry: order(entry.name))
    for entry, following in itertools.pairwise([*found, Found("", None)]):
        marker = entry.size == 0 and following.name.startswith(entry.name + "/")
        if not marker and not any(map(skip, entry.name.split("/"))):
            yield entry


def _find(fs: Any, root: str) -> dict[str, Any]:
    found: Any = fs.find(root, detail=True)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}  # adlfs: a list when it is a file


def look(fs: Any, path: str, is_object_store: bool) -> tuple[bool, int | None]:
    """Whether a folder stands there, and the bytes of a file. Raises FileNotFoundError."""
    about = fs.info(path)
    if about["type"] == "directory":
        return True, None
    size: int | None = about["size"]
    return (True, None) if size == 0 and is_object_store and _marks_folder(fs, path) else (False, size)


def _marks_folder(fs: Any, path: str) -> bool:
    """Whether other names of an object store begin with this one and a slash."""
    parent, _, base = path.rpartition("/")
    below = f"{path.strip('/')}/"
    return any(str(entry).strip("/").startswith(below) for entry in fs.find(parent, prefix=f"{base}/"))


def base_names(fs: Any, folder: str) -> list[str]:
    """Base names of what a folder holds, in no order. Raises FileNotFoundError."""
    entries: list[str] = [str(entry).rstrip("/") for entry in fs.ls(folder, detail=False)]
    return list({entry.rsplit("/", 1)[-1] for entry in entries if entry.strip("/") != folder.strip("/")})


def walk_folders(fs: Any, folder: str, skip: Skip, run: Run[list[dict[str, Any]]], prefix: str = "") -> Iterator[Found]:
    """The files of any other storage, one folder's listing after the other."""
    entries = run("list", folder, lambda: list(fs.ls(folder, detail=True)))
    named = {str(about["name"]).rstrip("/").rsplit("/", 1)[-1]: about for about in entries}
    for name in sorted(named):
        about = named[name]
        if skip(name) or str(about["name"]).rstrip("/") == folder.rstrip("/"):
            continue
        if about["type"] == "directory":
            yield from walk_folders(fs, f"{folder.rstrip('/')}/{name}", skip, run, f"{prefix}{name}/")
        elif about["type"] in ("file", "link"):
            yield Found(prefix + name, about.get("size"), stamp_of(about))
