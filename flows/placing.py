"""Local files of an output: whether they are there, which they are, and their way to the final name."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from ..scoring.errors import StepFailed

BOX = ".prefect-batch-"
"""How the hidden folders begin that an output is written in, beside its final name."""
_TRIES = 3
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


def check_written(name: str, path: Path, is_file: bool) -> None:
    """Refuse an output that is not what its type says. Raises StepFailed."""
    if is_file and path.is_dir():
        raise StepFailed(f"outputs.{name} is a uri_file, and a folder was written: write type: uri_folder")
    if is_file and not path.is_file():
        raise StepFailed(f"outputs.{name} is a uri_file, and no file was written: write the file that it names")
    if not is_file and not path.is_dir():
        what = "a file was written: write type: uri_file" if path.exists() else "the folder was removed: leave it there"
        raise StepFailed(f"outputs.{name} is a folder, and {what}")


def files_of(path: Path) -> list[tuple[str, int | None]]:
    """Names below a folder with their bytes, those of folders with a slash at the end; for a file ''."""
    return sorted(_below(path, "")) if path.is_dir() else [("", path.stat().st_size)]


def _below(folder: Path, prefix: str) -> Iterator[tuple[str, int | None]]:
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield f"{prefix}{entry.name}/", None
            yield from _below(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.stat().st_size


def own(name: str, path: Path) -> None:
    """Make an output whole in itself: what it links to, which may soon be gone or lie under another name, becomes part
    of it. Pipes and sockets that a process has left are no output.

    Raises StepFailed for a link to nowhere, or to a folder that it is in, and for a name that cannot be written down.
    """
    root = path.resolve()
    for entry in sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else [path]:
        if entry.is_symlink():
            try:
                _replace_link(entry, root)
            except (OSError, RuntimeError) as error:  # the latter for links in a circle
                known = isinstance(error, OSError) and error.strerror
                reason = known or "it leads to itself, or to what cannot be read"
                raise StepFailed(f"outputs.{name}: the link {entry.name!r} in it leads to no data: {reason}") from None
        elif not entry.is_dir() and not entry.is_file():
            entry.unlink()
        if entry.name != os.fsencode(entry.name).decode(errors="replace"):
            raise StepFailed(f"outputs.{name}: the name {os.fsencode(entry.name)!r} in it is not UTF-8: write another")


def _replace_link(link: Path, root: Path) -> None:
    target = link.resolve(strict=True)
    if link.parent.resolve().is_relative_to(target):
        raise RuntimeError
    inside = target != root and target.is_relative_to(root)
    copy = link_or_copy if inside else shutil.copy2
    link.unlink()
    shutil.copytree(target, link, copy_function=copy) if target.is_dir() else copy(str(target), str(link))


def link_or_copy(source: str, target: str) -> None:
    """Give a file, or the one that a link leads to, a second name; where the disk has no such thing, copy it."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)


def place_locally(staged: Path, target: Path, is_file: bool, ours: Sequence[str], boxes: Sequence[Path]) -> None:
    """Give a folder or a file its final name, where nothing may stand but what earlier attempts have put there.

    Args:
        staged: what was written; on the same disk it is renamed.
        target: the final name.
        is_file: whether it is a file.
        ours: what earlier attempts had begun to put there, as files_of() names it.
        boxes: where those had it; they are removed first, so that an attempt that is still alive places no more.

    Raises FileExistsError for anything else that is in the way, OSError.
    """
    target = target.resolve()  # a link to an empty folder is a fine place
    for path in boxes:
        if path != staged and path.parent.name.startswith(BOX):
            shutil.rmtree(path.parent, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_TRIES):
        remove(target, ours)
        try:
            _place_file(staged, target) if is_file else _place_folder(staged, target)
            return
        except FileExistsError:
            continue
    raise _exists(target)


def _place_file(staged: Path, target: Path) -> None:
    try:
        os.link(staged, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with box(target) as near:
            os.link(shutil.copy2(staged, near), target)
    staged.unlink()


def _place_folder(staged: Path, target: Path) -> None:
    try:
        if not target.is_mount():
            _move(staged, target)
            return
    except OSError as error:
        if error.errno in _TAKEN:
            raise _exists(target) from None
        if error.errno != errno.EBUSY:
            raise
    # Where a disk is mounted the place itself cannot be renamed.
    if any(not entry.name.startswith(BOX) for entry in target.iterdir()):
        raise _exists(target)
    for child in sorted(staged.iterdir()):
        _move(child, target / child.name)


def _exists(target: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))


def _move(path: Path, target: Path) -> None:
    """Rename, from one disk to another too; nothing is seen under the final name before it is whole."""
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with box(target) as near:
            copy = near / path.name
            shutil.copytree(path, copy, symlinks=True) if path.is_dir() else shutil.copy2(path, copy)
            copy.rename(target)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def box(target: Path, key: str = "") -> Generator[Path]:
    """A hidden folder beside the target, gone after the block; in the target itself, if a disk is mounted there.

    Folders above the target are made, and removed again if nothing has come into them.

    Args:
        target: local path.
        key: begins its name, for who looks for those that a killed process has left.
    """
    parent = target if target.is_mount() else target.parent
    made = [above for above in (parent, *parent.parents) if not above.exists()]
    path = parent / f"{BOX}{key}{uuid4().hex}"
    for attempt in range(_TRIES):
        try:
            path.mkdir(parents=True)
            break
        except FileNotFoundError:  # a neighbour that ended has just removed the folder above
            if attempt == _TRIES - 1:
                raise
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        for above in made:
            with contextlib.suppress(OSError):  # others' outputs may lie there by now
                above.rmdir()


def remove(target: Path, names: Iterable[str]) -> None:
    """Delete files below a folder, or ('') the target itself, and the folders among them that are empty then."""
    for name in sorted(names, reverse=True):
        path = target / name if name else target
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            if not name.endswith("/"):
                path.unlink()
            elif not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.rmdir()
