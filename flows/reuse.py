"""Outputs of earlier steps that were run with the same command, code, inputs and environment.

<datastore>/reuse/<fingerprint>.json    the job and the step that last ran it, and what its outputs were made of
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ..blocks.component import Step
from ..blocks.datastore import open_folder
from ..blocks.interface import Literals
from ..scoring.errors import BatchError, NotFound, StorageFailed
from ..scoring.storage import Folder
from .pipeline_job import DataValue, PipelineJob
from .step_result import StepOutput, StepResult
from .step_values import base_of, step_of

FOLDER = "reuse"
_HASHED = 64 * 2**20
"""Bytes of local data up to which its content counts, not only sizes and times."""

Listing = list[tuple[str, int | None, str]]
"""Name, bytes and what changes with the file: a checksum of its content, or what the storage tells."""


class Earlier(BaseModel):
    """What stands under a fingerprint."""

    job: str
    step: str
    outputs: dict[str, StepOutput]
    listings: dict[str, Listing]


def fingerprint(job: PipelineJob, step: str, values: Mapping[str, DataValue | Literals]) -> str | None:
    """What is the same for two runs of a step that may share their outputs; None where none may.

    Data counts by what is in it, not by where it lies. The result is None for a component that is not deterministic,
    for one without outputs, which runs for what else it does, and for data that does not tell whether it has changed,
    as on most web servers.

    Raises NotFound for data that is gone, OSError, StorageFailed.
    """
    about = step_of(job, step)
    if not about.component.is_deterministic or not about.component.outputs or base_of(job) is None:
        return None
    data: dict[str, Any] = {}
    for name, value in values.items():
        listing = _data(value) if isinstance(value, DataValue) else value
        if listing is None:
            return None
        data[name] = listing
    whole = {"component": _component(about), "inputs": data, "installed": _installed()}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _data(value: DataValue) -> Any:
    try:
        listing = _listing(value.location.open(), value.is_folder, value.is_empty)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{value.location.url} is not there any more") from None
    if listing is None:
        return None
    # The name of a file may decide how it is read, and a URL is all that a command gets of direct data.
    named = value.location.url if value.direct else None if value.is_folder else value.location.url.rpartition("/")[2]
    return [named, listing]


def _component(step: Step) -> dict[str, Any]:
    component = step.component
    return {
        "command": component.command,
        "code": component.code_snapshot.digest if component.code_snapshot else None,
        "inputs": {name: spec.type for name, spec in component.inputs.items()},
        "outputs": {name: spec.type for name, spec in component.outputs.items()},
        "environment": step.environment or component.environment,
        "environment_variables": {**component.environment_variables, **step.environment_variables},
    }


@lru_cache(maxsize=1)
def _installed() -> list[str]:
    found = {f"{one.metadata['Name']}=={one.version}" for one in distributions()}
    return [platform.python_version(), platform.machine(), *sorted(found)]


def _listing(place: Folder, is_folder: bool, is_empty: bool) -> Listing | None:
    """What is there, or None where a change would not show. Raises FileNotFoundError.

    Args:
        place: of the folder, or of the file itself.
        is_folder: which of both it is.
        is_empty: whether it is a folder in which nothing was left, which only disks have.
    """
    if is_empty and not place.is_local:
        found = [(name, None, None) for name in place.files()]
    elif is_folder:
        found = [(one.name, one.size, one.stamp) for one in place.walk()]
    else:
        found = [("", place.stat().size, place.stamp())]
    if place.is_local:
        look = _content if sum(size or 0 for _, size, _ in found) <= _HASHED else _times
        found = [(name, size, look(Path(place.path) / name)) for name, size, _ in found]
    listing = [(name, size, stamp) for name, size, stamp in found if stamp is not None]
    return listing if len(listing) == len(found) else None


def _content(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:  # a link to nowhere
        return None


def _times(path: Path) -> str | None:
    """Also when anything about it was changed last, which cannot be set back as the time of its content can."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return f"{about.st_mtime_ns} {about.st_ctime_ns}"


def find(job: PipelineJob, key: str) -> Earlier | None:
    """Outputs that are still what they were when they were written, if there are any for this fingerprint."""
    try:
        earlier = Earlier.model_validate_json(_index(job).read(f"{key}.json"))
        same = {name: _listing_of(output) == earlier.listings[name] for name, output in earlier.outputs.items()}
    except (OSError, StorageFailed, ValidationError, KeyError):
        return None  # the step can always be run
    return earlier if all(same.values()) else None


def note(job: PipelineJob, key: str, result: StepResult, values: Mapping[str, DataValue | Literals]) -> None:
    """Let later steps take the outputs of one that has completed, unless its inputs are others by now: which of both
    it has read nobody knows. A storage that fails only loses them that."""
    try:
        if fingerprint(job, result.name, values) != key:
            return
        found = {name: _listing_of(output) for name, output in result.outputs.items()}
        listings = {name: listing for name, listing in found.items() if listing is not None}
        if len(listings) == len(found):
            earlier = Earlier(job=job.id, step=result.name, outputs=result.outputs, listings=listings)
            _index(job).make().put(f"{key}.json", earlier.model_dump_json().encode())
    except (OSError, BatchError):
        return


def _listing_of(output: StepOutput) -> Listing | None:
    value = output.value
    return _listing(output.location.open(), value.is_folder, value.is_empty)


def _index(job: PipelineJob) -> Folder:
    return open_folder(f"{base_of(job)}{FOLDER}")
