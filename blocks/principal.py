"""Principals: those that calls come from, what they may do, and which datastores they may use with what credentials."""

from __future__ import annotations

from prefect.blocks.core import Block
from prefect.blocks.fields import SecretDict
from prefect.client.orchestration import SyncPrefectClient
from pydantic import Field, field_validator, model_validator

from ..scoring.errors import AlreadyExists, Forbidden, InvalidDocument, NotFound
from . import store
from .grants import Grant
from .names import DatastoreName, document_name

ANONYMOUS = "anonymous"
"""The principal of callers whom nobody asks who they are."""
ROLE = "role:"
"""How the principal's name begins that holds the grants of a role."""
_LONGEST = 255


def check_principal(name: str) -> str:
    """A principal's name: any text that fits on a line. Raises InvalidDocument."""
    if not name.strip() or len(name) > _LONGEST or not name.isprintable():
        raise InvalidDocument(f"a principal's name is 1 to {_LONGEST} printable characters")
    return name


class Principal(Block):
    """Somebody who calls, or a role (`role:analysts`) that several have."""

    _block_type_name = "Batch Principal"
    _block_type_slug = "batch-principal"

    name: str
    allow: list[str] = Field(default_factory=list, description="Grants, as in invoke:heart.")
    denied_datastores: list[DatastoreName] = Field(default_factory=list, description="Not to be read or written.")
    description: str | None = None

    @field_validator("allow")
    @classmethod
    def _grants(cls, value: list[str]) -> list[str]:
        return [str(Grant.parse(text)) for text in value]

    @model_validator(mode="after")
    def _roles_only_allow(self) -> Principal:
        if self.name.startswith(ROLE) and self.denied_datastores:
            raise InvalidDocument(f"{self.name} is a role, which only allows: deny datastores to principals")
        return self

    @property
    def grants(self) -> tuple[Grant, ...]:
        return tuple(map(Grant.parse, self.allow))

    def check_datastore(self, name: str) -> None:
        """Raises Forbidden for a datastore that is denied to this principal."""
        if name in self.denied_datastores:
            raise Forbidden(f"datastore {name!r} is denied to {self.name!r}: name data in another one")


class DatastoreCredentials(Block):
    """What a principal opens a datastore with, instead of the datastore's own credentials."""

    _block_type_name = "Batch Datastore Credentials"
    _block_type_slug = "batch-datastore-credentials"

    principal: str
    datastore: DatastoreName
    url: str = Field(description="Of the datastore that they were given for: no other one is opened with them.")
    credentials: SecretDict


def find_principal(client: SyncPrefectClient, name: str) -> Principal:
    """What is kept of a principal. Raises NotFound."""
    try:
        return store.load(Principal, _document(name), client)
    except NotFound:
        raise NotFound(f"principal {name!r} does not exist: see `prefect-batch principal list`") from None


def principal_or_nobody(client: SyncPrefectClient, name: str) -> Principal:
    """What is kept of a principal; one that nothing is kept of has no grants, and no datastore is denied to it."""
    try:
        return find_principal(client, name)
    except NotFound:
        return Principal(name=name)


def list_principals(client: SyncPrefectClient) -> list[Principal]:
    """All principals, by name."""
    return sorted(store.list_all(Principal, client), key=lambda principal: principal.name)


def create_principal(client: SyncPrefectClient, principal: Principal) -> Principal:
    """Save a principal, or those keys of an existing one that were given. Raises InvalidDocument."""
    check_principal(principal.name)
    _save(client, principal, _document(principal.name))
    return find_principal(client, principal.name)


def delete_principal(client: SyncPrefectClient, name: str) -> None:
    """Delete a principal with all its credentials. Raises NotFound."""
    store.delete(Principal, _document(find_principal(client, name).name), client)
    for held in list_credentials(client, name):
        remove_credentials(client, name, held.datastore)


def find_credentials(client: SyncPrefectClient, principal: str, datastore: str, url: str) -> SecretDict | None:
    """What a principal opens the datastore with, which is at `url`; None for the datastore's own credentials."""
    try:
        held = store.load(DatastoreCredentials, _document(principal, datastore), client)
    except NotFound:
        return None
    return held.credentials if held.url == url else None


def list_credentials(client: SyncPrefectClient, principal: str) -> list[DatastoreCredentials]:
    """A principal's credentials, by datastore."""
    found = store.list_all(DatastoreCredentials, client, principal=principal)
    return sorted(found, key=lambda held: held.datastore)


def set_credentials(client: SyncPrefectClient, credentials: DatastoreCredentials) -> None:
    """Keep what a principal opens a datastore with, instead of what was kept before."""
    check_principal(credentials.principal)
    _save(client, credentials, _document(credentials.principal, credentials.datastore))


def remove_credentials(client: SyncPrefectClient, principal: str, datastore: str) -> None:
    """Forget what a principal opens a datastore with. Raises NotFound."""
    try:
        store.delete(DatastoreCredentials, _document(principal, datastore), client)
    except NotFound:
        raise NotFound(f"principal {principal!r} has no credentials of its own for datastore {datastore!r}") from None


def forget_datastore(client: SyncPrefectClient, datastore: str) -> None:
    """Forget what principals open a datastore with that is no more."""
    for held in store.list_all(DatastoreCredentials, client, datastore=datastore):
        remove_credentials(client, held.principal, datastore)


def _save(client: SyncPrefectClient, block: Block, name: str) -> None:
    """Create a document, or bring those keys of it up to date that were given."""
    try:
        store.create(block, name, client)
    except AlreadyExists:
        store.patch(type(block), name, store.dump(block, block.model_fields_set), client)


def _document(*parts: str) -> str:
    # Of two texts at least: a single one may stay as it is, and then be what another's became.
    return document_name("principal", *parts)
