"""Local data on its way to a datastore, and data assets made of what is there."""

from __future__ import annotations

import os
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient

from ..blocks.contents import Progress, copy
from ..blocks.data_asset import DataAsset
from ..blocks.datastore import Datastore, default_datastore
from ..blocks.model_source import local_copy
from ..blocks.references import AssetReference, LocalPath, parse
from ..blocks.snapshot import FOLDER as SNAPSHOTS
from ..blocks.snapshot import take
from ..blocks.versions import create_version
from ..scoring.errors import BatchError, InvalidDocument, NotFound, StorageFailed
from .inputs import DataInput, find_input
from .locations import Location, locate, may_not_be_read

FOLDER = "uploads"


def upload(source: Path, datastore: Datastore, on_progress: Progress | None = None) -> str:
    """Copy a local file or folder into a datastore, to where its content says; returns a reference to the copy.

    The files are those that a job would take from the folder. What is there already is not copied again, and a copy
    that was broken off is finished.

    Args:
        source: absolute path.
        datastore: where to.
        on_progress: told of bytes done and bytes in all.

    Raises NotFound, NoItems for a folder without a file, InvalidDocument, BatchError.
    """
    if datastore.read_only:
        raise InvalidDocument(f"datastore {datastore.name!r} is read_only: upload {source} to another")
    found = find_input(DataInput(path=[str(source)]), None, None)
    place = found.places[0]
    root = Path(place.location.url)
    files = [("" if place.file else item.path, root / item.path) for item in found.items()]
    name = source.name or "data"
    try:
        digest = copy(files, name, datastore.folder / FOLDER, on_progress)
    except OSError as error:
        raise StorageFailed(f"{source} cannot be uploaded to datastore {datastore.name!r}: {error}") from None
    return datastore.reference(f"{FOLDER}/{digest}/{name}")


def upload_model(reference: str, datastore: Datastore) -> str:
    """Copy a model, local or of MLflow's registry, into a datastore; returns a reference to the copy.

    Raises NotFound, InvalidDocument.
    """
    with local_copy(reference, Path()) as (model, name):
        snapshot = take(model, datastore, name)
    return datastore.reference(f"{SNAPSHOTS}/{snapshot.digest}/{snapshot.name}")


def create_data_asset(
    client: SyncPrefectClient, asset: DataAsset, beside: Path, on_progress: Progress | None = None
) -> DataAsset:
    """Save a data asset whose data is there. Local data is uploaded first unless the default datastore is local too.

    Args:
        client: of the Prefect server.
        asset: as its user wrote it.
        beside: the folder that a relative path in it means.
        on_progress: of the upload: told of bytes done and bytes in all.

    Raises NotFound, NoItems, AlreadyExists, InvalidDocument, BatchError.
    """
    pointer = parse(asset.path)
    if isinstance(pointer, AssetReference):
        raise InvalidDocument(f"path: {asset.path!r} is a data asset itself: give the path of the data")
    given = asset.path
    if isinstance(pointer, LocalPath):
        given = os.path.normpath(beside.absolute() / Path(pointer.path).expanduser())
    location = locate(given, client)
    _check(asset, location)
    reference = location.reference
    if isinstance(pointer, LocalPath):
        datastore = default_datastore(client)
        if not datastore.is_local:
            reference = upload(Path(given), datastore, on_progress)
    return create_version(client, asset.model_copy(update={"reference": reference}))


def _check(asset: DataAsset, location: Location) -> None:
    try:
        is_folder = location.open().stat().is_dir
    except FileNotFoundError:
        raise NotFound(f"path: {asset.path!r} does not exist (looked for {location.url})") from None
    except OSError as error:
        shown = location.model_copy(update={"given": asset.path})
        raise BatchError(f"path: {may_not_be_read(shown, error)}") from None
    if is_folder and asset.type == "uri_file":
        raise InvalidDocument(f"path: {asset.path!r} is a folder: write type: uri_folder")
    if not is_folder and asset.type == "uri_folder":
        raise InvalidDocument(f"path: {asset.path!r} is a file: write type: uri_file")
