"""Datastores: named places that jobs read from and write to, with what it takes to open them.

What travels (in parameters, job.json, a Dask graph) is a reference: the datastore's name and a path in it. Whoever
opens one loads the block by its name, so that a credential is nowhere but in the block.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

from prefect.blocks.core import Block
from prefect.blocks.fields import SecretDict
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import get_current_settings
from pydantic import Field, PrivateAttr, model_validator

from ..scoring.errors import AlreadyExists, BatchError, Forbidden, InvalidDocument, NotFound, StorageFailed
from ..scoring.public_network import PUBLIC_ONLY
from ..scoring.storage import Folder
from . import store
from .acting import acting_as, acting_principal, bound, unbound
from .names import DatastoreName, document_name
from .principal import Principal, find_credentials, forget_datastore, principal_or_nobody
from .references import AssetReference, DatastorePath, LocalPath, Url, check_path, parse

DEFAULT = "default"
AZURE_DEFAULT = "workspaceblobstore"
"""What Azure ML calls the default datastore: it means ours, unless one of that name was made."""
SETTING = "PREFECT_BATCH_DATASTORE"
POINTER = "prefect_batch_default_datastore"
"""Prefect Variable with the default datastore's name; while there is none, that is the one named `default`."""
CACHE_SECONDS = 300.0
"""How long a process uses what it read of a datastore: changed credentials arrive within this time."""

_PLACE_OPTIONS = ("endpoint_url", "account_name", "account_host", "host", "port")
# Of credentials, what says who, not what only they know: these may stand in a message.
_NOT_SECRET = {"tenant_id", "client_id", "type", "project_id", "client_email", "auth_uri", "token_uri"}


class Datastore(Block):
    """A folder on any storage that jobs read from and write to."""

    _block_type_name = "Batch Datastore"
    _block_type_slug = "batch-datastore"

    name: DatastoreName = DEFAULT
    type: Literal["local", "azure_blob", "azure_data_lake_gen2", "s3", "gcs", "url"] = "url"
    url: str = Field(description="The root: an absolute local folder, or an fsspec URL.")
    options: dict[str, Any] = Field(default_factory=dict, description="fsspec options that anyone may see.")
    credentials: SecretDict | None = Field(
        default=None, description="Secret fsspec options; without, the worker's environment has them."
    )
    read_only: bool = Field(default=False, description="Refuse outputs.")
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    _principal: str | None = PrivateAttr(default=None)
    """As whom it was looked up: with that one's credentials, where there are any."""

    @model_validator(mode="after")
    def _type_of_the_first_ones(self) -> Datastore:
        if "type" not in self.model_fields_set and self.is_local:
            self.type = "local"
        return self

    @property
    def document_name(self) -> str:
        return document_name(self.name)

    @property
    def is_local(self) -> bool:
        return "://" not in self.url

    @property
    def is_plain(self) -> bool:
        """Whether its URL alone opens it."""
        return not self.options and self.credentials is None

    @property
    def folder(self) -> Folder:
        try:
            return Folder(self.url, self.opens_with, _secrets(self._secret_options()))
        except StorageFailed as error:
            # Below, options are variables, which a traceback may show with their values.
            failed = error.with_traceback(None)
        raise failed

    def reference(self, path: str = "") -> str:
        """What opens a path below the root anywhere: a plain local path or URL, or this datastore's name and the path.

        Raises InvalidDocument for a path that leaves the root.
        """
        path = check_path(path, path)
        if not self.is_plain:
            return bound(DatastorePath(self.name, path).reference, self._principal)
        return f"{self.url.rstrip('/')}/{path}" if path else self.url

    @property
    def opens_with(self) -> dict[str, Any]:
        """Options and credentials: never to be shown."""
        return {**self.options, **self._secret_options()}

    def seen_by(self, principal: Principal, own: SecretDict | None) -> Datastore:
        """As a principal finds it. Raises Forbidden where it is denied.

        Args:
            principal: who looks.
            own: credentials of the principal's own.
        """
        principal.check_datastore(self.name)
        update: dict[str, Any] = {}
        if own is not None:
            update = {
                "credentials": own,
                "options": {**self.options, **({"anon": False} if "anon" in self.options else {})},
            }
        seen = self.model_copy(update=update)
        seen._principal = principal.name
        return seen

    def credential_names(self) -> list[str]:
        """Which secret options are set."""
        return sorted(self._secret_options())

    def _secret_options(self) -> dict[str, Any]:
        return self.credentials.get_secret_value() if self.credentials else {}


def _secrets(value: Any, key: str = "") -> Iterator[str]:
    """Every text of credentials that must never show, and of those that hold others, each."""
    if isinstance(value, dict):
        for name, inner in cast("dict[str, Any]", value).items():
            yield from _secrets(inner, name)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _secrets(inner, key)
    elif isinstance(value, str) and len(value) >= 4 and key not in _NOT_SECRET:
        yield value
        scheme, _, token = value.partition(" ")
        if scheme.lower() in ("bearer", "basic"):
            yield token
        for part in value.replace("&", ";").split(";"):  # connection strings, shared access signatures
            name, equals, inner = part.partition("=")
            if equals and name.lower() in ("accountkey", "sharedaccesssignature", "sig"):
                yield inner


def open_folder(reference: str) -> Folder:
    """The folder that a reference means, with the options and credentials of its datastore if it names one.

    As whom the datastore is opened, the reference says, whoever this code acts as. What a principal names on the web
    is not looked for in private networks.

    Raises NotFound for a datastore that does not exist, Forbidden for one that is denied, NoServer when it cannot be
    asked for, InvalidDocument for what is no reference.
    """
    principal, plain = unbound(reference)
    place = parse(plain)
    if isinstance(place, AssetReference):
        raise InvalidDocument(f"{reference!r} is a data asset, not a place: find the version that it means first")
    if isinstance(place, Url):
        return Folder(place.url, PUBLIC_ONLY if principal is not None else None)
    if isinstance(place, LocalPath):
        return Folder(place.path)
    folder = _cached(place.datastore, principal).folder
    return folder / place.path.rstrip("/") if place.path.strip("/") else folder


_cache: dict[tuple[str | None, str, str | None], tuple[float, Datastore]] = {}
_lock = threading.Lock()


def _cached(name: str, principal: str | None) -> Datastore:
    key = (get_current_settings().api.url, name, principal)
    with _lock:
        at, datastore = _cache.get(key, (0.0, None))
        if datastore is None or time.monotonic() - at > CACHE_SECONDS:
            with store.api() as client, acting_as(principal):
                datastore = find_datastore(client, name)
            _cache[key] = (time.monotonic(), datastore)
    return datastore


def default_url() -> str:
    """Where the first default datastore is made: PREFECT_BATCH_DATASTORE, or `prefect-batch` in Prefect's home.

    Raises InvalidDocument for what is neither a path nor a URL, or holds a credential.
    """
    given = os.environ.get(SETTING) or str(get_current_settings().home / "prefect-batch")
    try:
        place = parse(given)
    except InvalidDocument as error:
        raise InvalidDocument(f"{SETTING}: {error}") from None
    if isinstance(place, Url):
        return place.url
    if isinstance(place, LocalPath):
        return os.path.normpath(Path(place.path).expanduser().absolute())
    raise InvalidDocument(f"{SETTING}: {given!r} must be a local folder or a URL")


def find_datastore(client: SyncPrefectClient, name: str) -> Datastore:
    """The datastore of that name, as the principal sees it that this code acts as.

    Raises NotFound naming those that there are, Forbidden.
    """
    name = name.lower()
    try:
        return _seen(client, store.load(Datastore, document_name(name), client))
    except NotFound:
        if name == DEFAULT == default_name(client):
            return _seen(client, _first_default(client))
        if name == AZURE_DEFAULT != default_name(client):
            return default_datastore(client)
        denied = _denied(client)
        known = ", ".join(held.name for held in list_datastores(client) if held.name not in denied) or "none"
        raise NotFound(
            f"datastore {name!r} does not exist (there are: {known}): make it with "
            f"`prefect-batch datastore create {name} --type TYPE`, or name another"
        ) from None


def _seen(client: SyncPrefectClient, datastore: Datastore) -> Datastore:
    """A datastore as the principal sees it that this code acts as. Raises Forbidden."""
    if (name := acting_principal()) is None:
        return datastore
    principal = principal_or_nobody(client, name)
    return datastore.seen_by(principal, find_credentials(client, name, datastore.name, datastore.url))


def _denied(client: SyncPrefectClient) -> list[str]:
    name = acting_principal()
    return principal_or_nobody(client, name).denied_datastores if name is not None else []


def check_not_denied(client: SyncPrefectClient, datastore: Datastore, url: str) -> None:
    """Refuse a place in a datastore that also is in another one, or holds another one, which is denied.

    Of the datastores that a place is in, the one with the longest root counts, however the place is spelt.

    Raises Forbidden.
    """
    denied = _denied(client)
    for other in list_datastores(client) if denied else []:
        is_further_in = other.name != datastore.name and below(other.url, datastore.url) not in (None, "")
        overlaps = below(url, other.url) is not None or below(other.url, url) is not None
        if other.name in denied and is_further_in and overlaps:
            raise Forbidden(f"{url!r} holds what is in datastore {other.name!r}, which is denied: name another place")


def default_datastore(client: SyncPrefectClient) -> Datastore:
    """The server's default datastore. The first caller makes it, so that everyone after means the same folder.

    Raises NotFound when the one that was chosen is gone.
    """
    name = default_name(client)
    try:
        return find_datastore(client, name)
    except NotFound:
        raise NotFound(
            f"the default datastore {name!r} is gone: choose another with `prefect-batch datastore set-default NAME`"
        ) from None


def default_name(client: SyncPrefectClient) -> str:
    """The name of the default datastore, which need not be made yet."""
    pointer = client.read_variable_by_name(POINTER)
    return str(pointer.value) if pointer is not None else DEFAULT


def _first_default(client: SyncPrefectClient) -> Datastore:
    try:
        store.create(Datastore(name=DEFAULT, url=default_url()), DEFAULT, client)
    except AlreadyExists:
        pass  # somebody was faster: theirs counts
    return store.load(Datastore, DEFAULT, client)


def set_default(client: SyncPrefectClient, name: str) -> None:
    """Make a datastore the default for outputs, uploads and new jobs. Raises NotFound, InvalidDocument."""
    datastore = find_datastore(client, name)
    if datastore.read_only:
        raise InvalidDocument(f"datastore {name!r} is read_only: the default datastore takes every job's files")
    try:
        client.create_variable(VariableCreate(name=POINTER, value=datastore.name))
    except ObjectAlreadyExists:
        client.update_variable(VariableUpdate(name=POINTER, value=datastore.name))


def list_datastores(client: SyncPrefectClient) -> list[Datastore]:
    """All datastores, by name."""
    return sorted(store.list_all(Datastore, client), key=lambda datastore: datastore.name)


def create_datastore(client: SyncPrefectClient, datastore: Datastore) -> Datastore:
    """Save a datastore, or bring an existing one up to date: all but the place, which jobs refer to by the name.

    Keys that were not given stay as they are. Raises InvalidDocument for another place, and for a default that could
    not be written.
    """
    if datastore.read_only and default_name(client) == datastore.name:
        raise InvalidDocument(
            f"datastore {datastore.name!r} is the default, which takes every job's files: choose another default first "
            "with `prefect-batch datastore set-default OTHER`"
        )
    try:
        store.create(datastore, datastore.document_name, client)
    except AlreadyExists:
        held = find_datastore(client, datastore.name)
        if _place(held) != _place(datastore):
            raise InvalidDocument(
                f"datastore {held.name!r} is at {held.url}, and jobs refer to that by its name: "
                f"make one of another name for {datastore.url}"
            ) from None
        given = datastore.model_fields_set - {"name", "type", "url"}
        store.patch(Datastore, held.document_name, store.dump(datastore, given), client)
    return find_datastore(client, datastore.name)


def _place(datastore: Datastore) -> tuple[str, list[Any]]:
    return datastore.url.rstrip("/"), [datastore.options.get(key) for key in _PLACE_OPTIONS]


def delete_datastore(client: SyncPrefectClient, name: str) -> None:
    """Delete a datastore's record; what is stored there stays. Raises NotFound, and BatchError for the default."""
    held = find_datastore(client, name)
    if default_name(client) == held.name:
        raise BatchError(
            f"datastore {held.name!r} is the default: first choose another with "
            "`prefect-batch datastore set-default OTHER`"
        )
    store.delete(Datastore, held.document_name, client)
    forget_datastore(client, held.name)


def datastore_of(client: SyncPrefectClient, url: str) -> tuple[Datastore, str] | None:
    """The datastore that a concrete local path or URL lies in, the one with the longest root, and the path in it.

    Raises InvalidDocument where several have that root and open it differently: which one would be chance. Raises
    Forbidden for one that is denied to the principal that this code acts as.
    """
    found: list[tuple[int, Datastore, str]] = []
    for datastore in list_datastores(client):
        path = below(url, datastore.url)
        if path is not None:
            found.append((len(datastore.url), datastore, path))
    if not found:
        return None
    longest, datastore, path = max(found, key=lambda entry: entry[0])
    same = [other for length, other, _ in found if length == longest]
    if any(other.opens_with != datastore.opens_with for other in same):
        names = ", ".join(other.name for other in same)
        raise InvalidDocument(
            f"{url!r} is in several datastores ({names}), which open it differently: name one, as in "
            f"{datastore.name}:{path}"
        )
    return _seen(client, datastore), path


def below(url: str, root: str) -> str | None:
    """A place's path below a root, or None when it lies elsewhere."""
    if "://" in url or "://" in root:
        return _relative(url, root.rstrip("/"))
    # A link below the root leads to the path's own target; one from elsewhere may lead below the root.
    plain = _relative(os.path.normpath(url), os.path.normpath(root).rstrip("/"))
    return plain if plain is not None else _relative(os.path.realpath(url), os.path.realpath(root).rstrip("/"))


def _relative(url: str, root: str) -> str | None:
    if url.rstrip("/") == root:
        return ""
    return url[len(root) + 1 :] if url.startswith(f"{root}/") else None
