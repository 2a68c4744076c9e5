"""Content-addressed copies of code and models in a datastore, below `snapshots/`.

A deployment refers to a copy, so that editing a script afterwards changes no deployment, and a worker on another
machine can fetch it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel

from ..scoring.errors import InvalidDocument, NotFound
from .contents import copy
from .datastore import Datastore, open_folder

FOLDER = "snapshots"
_SKIPPED = {"__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store"}


class Snapshot(BaseModel):
    """A stored copy: its digest, the name of its one child, and a reference to the datastore's root."""

    digest: str
    name: str
    root: str


def take(source: Path, datastore: Datastore, name: str | None = None) -> Snapshot:
    """Copy a folder or a file; what is there already is not copied again. Raises InvalidDocument for nothing to copy.

    Args:
        source: absolute path.
        datastore: where to.
        name: of the one child, by default the source's own.
    """
    files = list(_files(source))
    if not files:
        raise InvalidDocument(f"{source} holds no file")
    name = name or source.name
    return Snapshot(digest=copy(files, name, datastore.folder / FOLDER), name=name, root=datastore.reference())


def _files(source: Path) -> Iterator[tuple[str, Path]]:
    """Each file with its path relative to the source, '' for the source itself, in a fixed order."""
    if source.is_file():
        yield "", source
        return
    for folder, folders, files in os.walk(source, followlinks=False):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            path = Path(folder) / name
            if name not in _SKIPPED and not name.endswith(".pyc"):
                yield path.relative_to(source).as_posix(), path


def fetch(snapshot: Snapshot) -> Path:
    """A local folder whose one child is the snapshot: the stored one where it is local, else a cached copy.

    Raises NotFound when it is gone, OSError or StorageFailed when it cannot be read.
    """
    stored = open_folder(snapshot.root) / FOLDER / snapshot.digest
    if stored.is_local:
        return Path(stored.path)
    cache = Path(tempfile.gettempdir()) / f"prefect-batch-snapshots-{os.getuid()}"
    target = cache / snapshot.digest
    if not target.exists():
        cache.mkdir(mode=0o700, exist_ok=True)
        partial = cache / f"{snapshot.digest}.{uuid4().hex}"
        names = stored.files()
        if not names:
            raise NotFound(f"the copy of {snapshot.name!r} in {stored.url} is gone: create the deployment again")
        try:
            for error in stored.fetch(names, [partial / name for name in names]):
                if error is not None:
                    raise error
            partial.rename(target)
        except OSError:
            if not target.exists():  # else another process was faster
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target
