"""Where data lies: any spelling of a place, resolved to one that every worker can open."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect.client.orchestration import SyncPrefectClient
from pydantic import BaseModel, BeforeValidator, Field

from ..blocks.acting import acting_as, acting_principal, bound, unbound
from ..blocks.data_asset import DataAsset
from ..blocks.datastore import Datastore, check_not_denied, datastore_of, find_datastore, open_folder
from ..blocks.references import AssetReference, DatastorePath, LocalPath, parse
from ..blocks.versions import find_version
from ..scoring.errors import BatchError, InvalidDocument, NotFound
from ..scoring.storage import Folder

WORKING_DIRECTORY = "PREFECT_BATCH_WORKING_DIRECTORY"
"""Environment variable of a worker: the folder that relative paths of requests mean."""


def _snake(value: Any) -> Any:
    """`UriFile` as the REST API spells it, `uri_file` as YAML does."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", value).lower() if isinstance(value, str) else value


UriType = Annotated[Literal["uri_folder", "uri_file"], BeforeValidator(_snake)]


class Location(BaseModel):
    """A place as it was given, and what that was resolved to."""

    given: str | None
    url: str
    """Absolute local path, or a URL without credentials."""
    reference: str
    """What open_folder() takes; names the datastore where its options or credentials are needed."""
    asset: str | None = None
    """The data asset's version, `heart:3`, where one was given."""
    datastore: str | None = None
    root: str | None = Field(default=None, exclude=True)
    """Path or URL of the datastore that it is in. Not recorded: only what checks a place that was just found asks."""
    read_only: bool = False

    def open(self) -> Folder:
        """The place as a folder; for a file, ask its stat()."""
        return open_folder(self.reference)


def locate(given: str, client: SyncPrefectClient | None) -> Location:
    """The place that a spelling means, to the principal that this code acts as. It need not exist.

    Args:
        given: any spelling that blocks/references.py knows, or the reference of a location that was found before.
        client: of the Prefect server; None for a trial run without one, which knows no datastores and assets.

    Raises InvalidDocument, NotFound, Forbidden.
    """
    principal, plain = unbound(given)
    if principal is None or acting_principal() not in (None, principal):
        return _locate(given, client)  # which does not know another principal's reference
    with acting_as(principal):
        return _locate(plain, client)


def _locate(given: str, client: SyncPrefectClient | None, is_asset: bool = False) -> Location:
    pointer = parse(given)
    if isinstance(pointer, LocalPath):
        return _at(given, absolute(pointer.path, given), client)
    if isinstance(pointer, (AssetReference, DatastorePath)) and client is None:
        raise InvalidDocument(f"{given!r} is kept by a server, and a trial run has none: give a path or a URL")
    if isinstance(pointer, AssetReference):
        assert client is not None
        asset = find_version(DataAsset, client, pointer.name, pointer.version, pointer.label)
        found = _locate(asset.reference or asset.path, client, is_asset=True)
        return found.model_copy(update={"given": given, "asset": f"{asset.name}:{asset.version}"})
    if isinstance(pointer, DatastorePath):
        assert client is not None
        return _in_datastore(client, given, _named(client, pointer.datastore, given), pointer.path)
    found = _at(given, pointer.url, client)
    if found.datastore is None and not is_asset:  # whoever made the asset answers for what it points to
        return found.model_copy(update={"reference": bound(found.reference, acting_principal())})
    return found


def _named(client: SyncPrefectClient, name: str, given: str) -> Datastore:
    try:
        return find_datastore(client, name)
    except NotFound as error:
        if given.lower().startswith(f"{name}:"):
            raise NotFound(f"{error}; a local file of that name is ./{given}") from None
        raise


def may_not_be_read(location: Location, error: OSError) -> BatchError:
    """What to say when a place's storage refuses."""
    advice = (
        f"check the credentials of datastore {location.datastore!r}, and what they allow"
        if location.datastore
        else "let the worker read it, or keep its credentials in a datastore (`prefect-batch datastore create`)"
    )
    return BatchError(f"{location.given!r} may not be read: {error.strerror or error}: {advice}")


def _at(given: str, url: str, client: SyncPrefectClient | None) -> Location:
    """A path or URL; one within a datastore is opened with the datastore's credentials, and written if it may be."""
    held = datastore_of(client, url) if client is not None else None
    if client is None or held is None:
        return Location(given=given, url=url, reference=url)
    return _in_datastore(client, given, *held)


def _in_datastore(client: SyncPrefectClient, given: str, datastore: Datastore, path: str) -> Location:
    url = (datastore.folder / path).url if path else datastore.folder.url
    check_not_denied(client, datastore, url)
    return Location(
        given=given,
        url=url,
        reference=datastore.reference(path),
        datastore=datastore.name,
        root=datastore.url,
        read_only=datastore.read_only,
    )


def absolute(path: str, given: str) -> str:
    """An absolute local path. A relative one is taken from where the worker was started.

    Raises InvalidDocument for a relative one that means nothing here.
    """
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
