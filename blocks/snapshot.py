"""Content-addressed copies of code and models in the default datastore.

A deployment refers to a copy, so that editing a script afterwards changes no deployment, and a worker on another
machine can fetch it.

    snapshots/<digest>/<name>/...    the folder or file, under its own name
    snapshots/<digest>.json          its files; written last: a snapshot is there when this is
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel

from ..scoring.errors import InvalidDocument
from ..scoring.storage import Folder

_SKIPPED = {"__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store"}


class Snapshot(BaseModel):
    """A stored copy: its digest, the name of its one child, and the datastore folder it lies in."""

    digest: str
    name: str
    root: str


def take(source: Path, datastore: Folder, name: str | None = None) -> Snapshot:
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
    digest = hashlib.sha256(name.encode())
    for relative, path in files:
        with path.open("rb") as stream:
            digest.update(f"\0{relative}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}".encode())
    snapshot = Snapshot(digest=digest.hexdigest(), name=name, root=datastore.url)
    folder, manifest = datastore / "snapshots", f"{snapshot.digest}.json"
    if not folder.exists(manifest):
        target = folder / snapshot.digest / name
        for relative, path in files:
            if relative:
                target.upload(path, relative)
            else:
                (folder / snapshot.digest).upload(path, name)
        listing = {"name": name, "files": [relative for relative, _ in files]}
        folder.put(manifest, json.dumps(listing).encode())
    return snapshot


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
    """A local folder whose one child is the snapshot: the stored one where it is local, else a cached copy."""
    stored = Folder(snapshot.root) / "snapshots"
    if stored.is_local:
        return Path(stored.path) / snapshot.digest
    cache = Path(tempfile.gettempdir()) / f"prefect-batch-snapshots-{os.getuid()}"
    target = cache / snapshot.digest
    if not target.exists():
        cache.mkdir(mode=0o700, exist_ok=True)
        partial = cache / f"{snapshot.digest}.{uuid4().hex}"
        stored.fs.get(f"{stored.path}/{snapshot.digest}", str(partial), recursive=True)
        try:
            partial.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(partial, ignore_errors=True)
    return target
