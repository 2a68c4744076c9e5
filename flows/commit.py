"""Giving what a step wrote its final place, all of it or nothing, and only once.

<record>/commits/NNN.json   who has begun to commit, with the names of the files; who has done so
<record>/done.json          the result that stands

Two attempts may come here at the same time: a worker that was thought to be lost may still run. The entries in
`commits` are created exclusively, one after the other, and only the last one counts: so an attempt that another has
gone past can no longer end, and the other removes what it may have put in place. That holds wherever the storage
creates files exclusively.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel, Field

from ..scoring import scratch
from ..scoring.errors import AlreadyExists, JobReleased, StepFailed, StorageFailed
from ..scoring.storage import Folder
from .locations import Location
from .placing import check_written, files_of, own, place_locally, remove
from .step_result import DONE, StepOutput, StepResult

PATIENCE = 60.0
"""Seconds for another attempt that may still be at work, before what it has begun is taken over."""
_LOOK_SECONDS = 0.5
_UPLOADS = 8
_TRIES = 3
_active: set[str] = set()


@dataclass(frozen=True)
class Staged:
    """An output that was written, on this machine, and where it is to go."""

    path: Path
    """A folder, or a file; best on the disk of the place, if that is local: then it is only renamed."""
    location: Location
    """Of the folder, or of the file itself."""
    is_file: bool


class _Entry(BaseModel):
    """An attempt that has begun to commit, or one that has done so."""

    attempt: str
    run: int
    node: str
    files: dict[str, list[str]] = Field(default_factory=dict[str, list[str]])
    """Of each output; the name of a folder ends in a slash."""
    staged: list[str] = Field(default_factory=list[str])
    """Where they lay on the node, and would be taken from."""
    result: StepResult | None = None
    """Of one that has done so."""
    retracts: bool = False
    """Whether the attempt has given up, and nothing in the places is its own."""


def read_result(record: Folder) -> StepResult | None:
    """The result that stands, or None. An attempt that was killed after its last entry is counted in."""
    try:
        return StepResult.model_validate_json(record.read(DONE))
    except FileNotFoundError:
        entries = _entries(record)
    if not entries or entries[-1].result is None:
        return None
    return _publish(record, entries[-1].result)


def stands(result: StepResult) -> bool:
    """Whether all outputs are there with the files that they were committed with. Raises StorageFailed,
    PermissionError."""
    return all(_stands(output) for output in result.outputs.values())


def _stands(output: StepOutput) -> bool:
    place = output.location.open()
    try:
        if output.is_file:
            return [place.stat().size] == [size for _, size in output.files]
        if place.is_local or output.files:  # on an object store there are no empty folders
            there = {found.name: found.size for found in place.walk()}
        else:
            there = dict[str, int | None]()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return all(there.get(name, -1) == size for name, size in output.files)


def check_free(record: Folder, name: str, location: Location, is_file: bool) -> None:
    """Refuse an output that something stands in the way of, unless an earlier attempt had begun to put it there.

    Raises AlreadyExists.
    """
    _check_free(record, _entries(record), name, location, is_file)


def _check_free(record: Folder, entries: list[_Entry], name: str, location: Location, is_file: bool) -> None:
    """As check_free(); attempts that have begun since the entries were read are known by another look at the record."""
    while _is_taken(location.open(), is_file, _ours(entries, name)):
        seen, entries = len(entries), _entries(record)
        if len(entries) == seen:
            raise _in_the_way(name, location)


def _is_taken(place: Folder, is_file: bool, ours: set[str]) -> bool:
    tops = {file.split("/")[0] for file in ours}
    return not ours and place.exists() if is_file else bool(set(_names(place)) - tops)


def _ours(entries: list[_Entry], name: str) -> set[str]:
    """What attempts may have put into the place of an output."""
    retracted = {entry.attempt for entry in entries if entry.retracts}
    return {file for entry in entries if entry.attempt not in retracted for file in entry.files.get(name, [])}


def _names(place: Folder) -> list[str]:
    return place.names() if not place.exists() or place.stat().is_dir else [""]


def _in_the_way(name: str, location: Location) -> AlreadyExists:
    return AlreadyExists(
        f"outputs.{name}: {location.url} exists already and is not overwritten: name another place, "
        "or move it away and resume the job"
    )


def commit(
    record: Folder,
    result: StepResult,
    outputs: Mapping[str, Staged],
    run: int,
    stopped: threading.Event | None = None,
) -> StepResult:
    """Put outputs in place and note the result; returns the one that stands, which may be another attempt's.

    Args:
        record: folder of the step in the job's folder.
        result: the outputs are added to its own.
        outputs: by name. Those that lie on the disk of a local place are moved.
        run: how often the job has been started. What an earlier run has begun is taken over at once.
        stopped: ends the wait for another attempt.

    Raises StepFailed for an output that was not written as its type says, or that cannot be written; AlreadyExists;
    JobReleased.
    """
    for name, staged in outputs.items():
        check_written(name, staged.path, staged.is_file)
        own(name, staged.path)
    written = {name: _output(staged) for name, staged in outputs.items()}
    result = result.model_copy(update={"outputs": {**result.outputs, **written}})
    return _Commit(record, result, outputs, run, stopped or threading.Event()).run()


def _output(staged: Staged) -> StepOutput:
    files = [(name or staged.path.name, size) for name, size in files_of(staged.path) if not name.endswith("/")]
    return StepOutput(location=staged.location, is_file=staged.is_file, files=files)


def _publish(record: Folder, result: StepResult) -> StepResult:
    record.put(DONE, result.model_dump_json(indent=1).encode())
    return result


def _entries(record: Folder) -> list[_Entry]:
    folder = record / "commits"
    return [_Entry.model_validate_json(folder.read(name)) for name in folder.names() if name.endswith(".json")]


class _Commit:
    """One attempt's commit."""

    def __init__(
        self,
        record: Folder,
        result: StepResult,
        outputs: Mapping[str, Staged],
        run: int,
        stopped: threading.Event,
    ) -> None:
        self._record, self._result, self._outputs, self._stopped = record, result, outputs, stopped
        files = {name: [file for file, _ in files_of(staged.path)] for name, staged in outputs.items()}
        staged = [str(staged.path) for staged in outputs.values()]
        self._entry = _Entry(attempt=uuid4().hex, run=run, node=scratch.node(), files=files, staged=staged)
        self._earlier: list[_Entry] = []
        self._placed: dict[str, list[str]] = {}

    def run(self) -> StepResult:
        _active.add(self._entry.attempt)
        try:
            if (standing := self._claim()) is not None:
                return standing
            try:
                for name, staged in self._outputs.items():
                    self._place(name, staged)
                for name, staged in self._outputs.items():
                    self._check_alone(name, staged)
            except BaseException:
                self._undo()
                raise
            return self._end()
        finally:
            _active.discard(self._entry.attempt)

    def _claim(self) -> StepResult | None:
        """Become the last entry; or the result of another attempt that was faster."""
        waited = 0.0
        while True:
            self._earlier = _entries(self._record)
            last = self._earlier[-1] if self._earlier else None
            if last is not None and last.result is not None:
                if last.run >= self._entry.run or stands(last.result):
                    return _publish(self._record, last.result)
            elif last is not None and not last.retracts and waited < PATIENCE and self._may_be_at_work(last):
                if self._stopped.wait(_LOOK_SECONDS):
                    raise JobReleased
                waited += _LOOK_SECONDS
                continue
            for name, staged in self._outputs.items():
                _check_free(self._record, self._earlier, name, staged.location, staged.is_file)
            if self._append(self._entry):
                return None

    def _may_be_at_work(self, entry: _Entry) -> bool:
        if entry.run < self._entry.run:
            return False
        return entry.attempt in _active if entry.node == scratch.node() else scratch.may_live(entry.node)

    def _append(self, entry: _Entry) -> bool:
        number = len(self._earlier) + 1
        try:
            self._record.make().create(f"commits/{number:03d}.json", entry.model_dump_json().encode())
        except FileExistsError:
            return False
        self._earlier.append(entry)
        return True

    def _end(self) -> StepResult:
        """The last word. Raises StepFailed when another attempt has begun meanwhile: what stands is its."""
        if not self._append(self._entry.model_copy(update={"result": self._result})):
            raise _overtaken()
        return _publish(self._record, self._result)

    def _is_overtaken(self) -> bool:
        return self._record.exists(f"commits/{len(self._earlier) + 1:03d}.json")

    def _undo(self) -> None:
        """Of a step that has failed nothing stays, unless another attempt answers for it by now."""
        with contextlib.suppress(OSError, StorageFailed):
            if self._is_overtaken():
                return
            for name, files in self._placed.items():
                staged, place = self._outputs[name], self._outputs[name].location.open()
                if place.is_local:
                    remove(Path(place.path), files)
                    if not staged.is_file:
                        Path(place.path).rmdir()
                for file in [] if place.is_local else files:
                    place.remove(file)
            self._append(self._entry.model_copy(update={"files": {}, "retracts": True}))

    def _place(self, name: str, staged: Staged) -> None:
        ours = sorted(_ours(self._earlier[:-1], name))
        place = staged.location.open()
        try:
            if place.is_local:
                theirs = [Path(path) for entry in self._earlier[:-1] for path in entry.staged]
                place_locally(staged.path, Path(place.path), staged.is_file, ours, theirs)
                self._placed[name] = self._entry.files[name]
            else:
                self._upload(name, staged.path, place, ours)
        except FileExistsError:
            raise _in_the_way(name, staged.location) from None
        except (OSError, StorageFailed) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise StepFailed(f"outputs.{name}: {staged.location.url} cannot be written: {reason}") from None

    def _check_alone(self, name: str, staged: Staged) -> None:
        """Two jobs may have been given one folder, and have found it free. Disks let one of them rename; elsewhere
        neither stands if both have put files there. Raises AlreadyExists."""
        place = staged.location.open()
        if place.is_local or staged.is_file:
            return
        if self._is_overtaken():
            raise _overtaken()
        if set(place.files()) - _ours(self._earlier, name):
            raise _in_the_way(name, staged.location)

    def _upload(self, output: str, staged: Path, place: Folder, ours: list[str]) -> None:
        """Send the files of an output. Whatever an earlier attempt still sends then finds that its files are there."""
        names = [name for name in self._entry.files[output] if not name.endswith("/")]
        for name in set(ours) - set(names):
            place.remove(name)

        def send(name: str) -> None:
            for _ in range(_TRIES):
                if self._is_overtaken():
                    raise _overtaken()
                try:
                    place.upload(staged / name if name else staged, name, new=True)
                    return self._placed.setdefault(output, []).append(name)
                except FileExistsError:
                    if name not in ours:
                        raise
                    place.remove(name)
            raise FileExistsError

        with ThreadPoolExecutor(_UPLOADS) as pool:
            list(pool.map(send, names))


def _overtaken() -> StepFailed:
    return StepFailed("another attempt at this step went past this one while it put its outputs in place")
