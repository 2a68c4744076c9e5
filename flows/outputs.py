"""Where a job's output goes: any place that may be written, checked before compute starts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from prefect.client.orchestration import SyncPrefectClient
from pydantic import Field

from ..blocks.datastore import default_datastore
from ..blocks.documents import validate
from ..blocks.expressions import Expression, Keyword, resolve
from ..blocks.expressions import parse as parse_template
from ..blocks.references import AssetReference, DatastorePath, Url, parse
from ..blocks.settings import Document, JobSettings, ModelSettings
from ..scoring.errors import AlreadyExists, BatchError, InvalidDocument, StorageFailed
from ..scoring.storage import Folder
from .job import OUTPUT_NAME, OUTPUTS
from .locations import Location, UriType, locate

_GLOB = re.compile(r"[*?]|\[[^]]+\]")
_FILE = re.compile(r"[^/]+\.(csv|jsonl|ndjson|parquet|pqt)(\.gz|\.zst)?", re.IGNORECASE)


class DataOutput(Document):
    """A pointer to where the output goes."""

    path: str | None = None
    type: UriType | None = None
    mode: str | None = Field(default=None, description="Taken for compatibility; what is written appears whole.")


def find_output(
    client: SyncPrefectClient | None, outputs: Mapping[str, Any], job_id: str, root: str, settings: ModelSettings
) -> tuple[Location, ModelSettings]:
    """The folder that the output goes to, which is free and may be written, and the settings with the file's name.

    A path of type uri_file may name the file; a folder it may name too, as Azure's documents do it.

    Args:
        client: of the Prefect server; None for a trial run without one.
        outputs: as in the request: none, or one under any name.
        job_id: names the folder when no path is given: `azureml/<job id>/score` in the default datastore.
        root: reference of the job's folder, which holds it when there is neither a path nor a server.
        settings: of the job.

    Raises InvalidDocument, NotFound, AlreadyExists, BatchError.
    """
    name, given = _only(outputs)
    if not given.path:
        location = default_output(client, job_id, root, OUTPUT_NAME)
    else:
        location = locate_output(given.path, name, client)
        if given.type == "uri_file" and not given.path.endswith("/"):
            location, settings = _split_file(location, settings)
    check_output(location.open(), settings.file_name)
    return location, settings


def _only(outputs: Mapping[str, Any]) -> tuple[str, DataOutput]:
    if len(outputs) > 1:
        names = ", ".join(sorted(outputs))
        raise InvalidDocument(f"outputs: a model deployment takes one, {len(outputs)} were given ({names})")
    name, value = next(iter(outputs.items()), (OUTPUT_NAME, None))
    spec: Any = {"path": value} if value is None or isinstance(value, str) else value
    if not isinstance(spec, Mapping):
        raise InvalidDocument(f"outputs.{name}: {value!r} is not understood: give a path, or a mapping with one")
    return name, validate(DataOutput, spec, f"outputs.{name}")  # pyright: ignore[reportUnknownArgumentType]


def default_output(
    client: SyncPrefectClient | None, job_id: str, root: str, name: str, datastore: str | None = None
) -> Location:
    """The job's own place for an output, which no other job has. Raises NotFound, InvalidDocument.

    Args:
        client: of the Prefect server; None for a trial run without one.
        job_id: the job's name.
        root: reference of the job's folder, which holds the output when there is no server.
        name: of the output.
        datastore: instead of the default one.
    """
    if client is None:
        place = f"{root.rstrip('/')}/{name}"
    else:
        place = DatastorePath(datastore or default_datastore(client).name, f"{OUTPUTS}/{job_id}/{name}").reference
    location = locate(place, client)
    _check_read_only(location, name)
    return location.model_copy(update={"given": None})


def fill_in(path: str, client: SyncPrefectClient | None, datastore: str | None, name: str, output_name: str) -> str:
    """The path of an output with its keywords replaced. Raises InvalidDocument for any other expression, NotFound.

    Args:
        path: such as `azureml://datastores/${{default_datastore}}/paths/${{name}}/`.
        client: of the Prefect server; None for a trial run, which has no datastores.
        datastore: instead of the default one.
        name: of the job, or of its step.
        output_name: the output's.
    """

    def lookup(expression: Expression) -> str:
        if expression == Keyword("default_datastore") and client is not None:
            return datastore or default_datastore(client).name
        return {Keyword("name"): name, Keyword("output_name"): output_name}[cast("Keyword", expression)]

    return resolve(parse_template(path), lookup)


def locate_output(given: str, name: str, client: SyncPrefectClient | None) -> Location:
    """A place that may be written, as far as its spelling and its datastore say. Raises InvalidDocument, NotFound.

    Args:
        given: any spelling.
        name: of the output, for messages.
        client: of the Prefect server; None for a trial run without one.
    """
    place = parse(given)
    if isinstance(place, AssetReference):
        raise InvalidDocument(f"outputs.{name}: {given!r} is a data asset, which never changes: name a folder")
    if isinstance(place, Url) and place.url.startswith(("http://", "https://")):
        raise InvalidDocument(f"outputs.{name}: {given!r} can only be read: name a folder on a storage")
    if is_pattern(given):
        raise InvalidDocument(f"outputs.{name}: {given!r} is a pattern: name one folder")
    found = locate(given, client)
    _check_read_only(found, name)
    return _moved(found, found.reference.rstrip("/"), found.url.rstrip("/"))


def is_pattern(path: str) -> bool:
    """Whether a path holds what a glob would."""
    return _GLOB.search(path) is not None


def _check_read_only(location: Location, name: str) -> None:
    if location.read_only:
        raise InvalidDocument(
            f"outputs.{name}: datastore {location.datastore!r} is read_only: name a folder in another one"
        )


def _moved(location: Location, reference: str, url: str) -> Location:
    return location.model_copy(update={"reference": reference or "/", "url": url or "/"})


def _split_file(location: Location, settings: ModelSettings) -> tuple[Location, ModelSettings]:
    """The folder of a path that ends like an output file, and the settings with its name; others are folders."""
    folder, name = split_file(location)
    if not _FILE.fullmatch(name):
        return location, settings
    overrides = validate(JobSettings, {"output_file_name": name}, "outputs")
    return folder, settings.overridden(overrides)


def split_file(location: Location) -> tuple[Location, str]:
    """The folder of a file, and the file's name in it."""
    parent, _, name = location.reference.rpartition("/")
    return _moved(location, parent, location.url.rpartition("/")[0]), name


def check_output(folder: Folder, file_name: str | None, where: str = "outputs", kind: str = "folder") -> None:
    """Refuse an output that something stands in the way of, or that may not be written.

    Args:
        folder: of the output.
        file_name: what must not be there; "" (Parquet parts) and None (only the script writes) for anything at all.
        where: stands in front of errors.
        kind: what to name another of.

    Raises AlreadyExists, InvalidDocument, BatchError.
    """
    with _writing(folder, where):
        if folder.exists() and not folder.stat().is_dir:
            raise InvalidDocument(f"{where}: {folder.url} is a file: name a folder")
        taken = folder.exists(file_name) if file_name else bool(folder.names())
        if taken:
            what = folder.file_url(file_name) if file_name else f"{folder.url} is not empty and"
            raise AlreadyExists(f"{where}: {what} exists already and is not overwritten: name another output {kind}")
        _try_to_write(folder)


def _try_to_write(folder: Folder) -> None:
    """Write a small hidden file and remove it, and with it the folders that this made."""
    marker = f".{uuid4().hex}.writable"
    path = Path(folder.path)
    made = [above for above in (path, *path.parents) if not above.exists()] if folder.is_local else []
    try:
        folder.create(marker, marker.encode())
        folder.remove(marker)
    finally:
        for above in made:
            with contextlib.suppress(OSError):  # another job's output may lie there by now
                above.rmdir()


@contextlib.contextmanager
def _writing(folder: Folder, where: str) -> Generator[None]:
    """What goes wrong in the block as one line. Raises BatchError."""
    try:
        yield
    except (OSError, StorageFailed) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BatchError(
            f"{where}: {folder.url} cannot be written: {reason}: let the worker write there, or name another folder"
        ) from None
