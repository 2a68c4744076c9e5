"""The files of one attempt at a step on this machine: its code, its inputs, and hidden folders for its outputs."""

from __future__ import annotations

import hashlib
import shutil
import threading
from contextlib import ExitStack
from pathlib import Path

from ..blocks.acting import unbound
from ..blocks.contents import AT_ONCE
from ..blocks.snapshot import Snapshot, fetch
from ..scoring import scratch
from ..scoring.errors import JobReleased, StepFailed
from ..scoring.staging import inside
from ..scoring.storage import Folder
from .commit import Staged
from .pipeline_job import DataValue, OutputPlace
from .placing import BOX, box


class StepFiles:
    """Gone after the block, but for outputs that were moved.

    Args:
        key: says whose they are; of an earlier attempt of the same key nothing is left in the places of the outputs.
        stopped: ends the fetching of inputs.
    """

    def __init__(self, key: str, stopped: threading.Event) -> None:
        self._key, self._stopped = key, stopped
        self._stack = ExitStack()
        self._scratch = Path()

    def __enter__(self) -> StepFiles:
        self._scratch = self._stack.enter_context(scratch.folder())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def log(self) -> Path:
        """A local file for what the command prints, where the job's folder is remote."""
        return self._scratch / "log.txt"

    def code(self, snapshot: Snapshot | None) -> Path:
        """A folder of the attempt's own with a copy of the code, to start the command in."""
        target = self._scratch / "code"
        if snapshot is None:
            target.mkdir()
            return target
        source = fetch(snapshot) / snapshot.name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            target.mkdir()
            shutil.copy2(source, target)
        return target

    def input(self, name: str, value: DataValue) -> str:
        """The path of data on this machine, to which it is brought if it is elsewhere; or its URL, with mode direct.

        Raises StepFailed, JobReleased.
        """
        place = value.location.open()
        if place.is_local:
            return value.location.url
        if value.direct:
            if unbound(value.location.reference)[0] is not None:
                raise StepFailed(
                    f"inputs.{name}: mode direct gives a command no rights of the caller: write mode: download"
                )
            return value.location.url
        target = self._scratch / "inputs" / name
        try:
            if not value.is_folder:
                target /= _base(value.location.url)
            names = [""] if not value.is_folder else [] if value.is_empty else [found.name for found in place.walk()]
            self._fetch(place, names, target)
        except OSError as error:
            raise StepFailed(f"inputs.{name}: {value.location.url} cannot be read: {error.strerror or error}") from None
        return str(target)

    def _fetch(self, place: Folder, names: list[str], target: Path) -> None:
        if names != [""]:
            target.mkdir(parents=True, exist_ok=True)
        targets = [target / inside(name) if name else target for name in names]
        for error in place.fetch(names, targets, AT_ONCE, self._stopped.is_set):
            if error is not None:
                raise JobReleased if self._stopped.is_set() else error

    def output(self, name: str, place: OutputPlace) -> Staged:
        """Where the command is to write an output: a folder that is there, or the name of a file in one.

        Raises StepFailed.
        """
        final = place.location.open()
        try:
            if final.is_local:
                key = output_key(self._key, name)
                target = Path(final.path).resolve()
                sweep(target, key)
                hidden = self._stack.enter_context(box(target, key))
            else:
                hidden = self._scratch / "outputs" / name
                hidden.mkdir(parents=True)
            path = hidden / _base(final.path)
            if not place.is_file:
                path.mkdir()
        except OSError as error:
            raise StepFailed(
                f"outputs.{name}: {place.location.url} cannot be written: {error.strerror}: let the worker write there"
            ) from None
        return Staged(path, place.location, place.is_file)


def output_key(key: str, name: str) -> str:
    """How the hidden folders of an output begin, behind BOX, whichever attempt has made them."""
    return hashlib.sha256(f"{key}\0{name}".encode()).hexdigest()[:16] + "-"


def sweep(target: Path, key: str) -> None:
    """Remove what attempts that were killed have left beside an output."""
    for parent in (target.parent, target):
        for left in parent.glob(f"{BOX}{key}*") if parent.is_dir() else ():
            shutil.rmtree(left, ignore_errors=True)


def _base(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or "output"
