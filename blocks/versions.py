"""What is kept in versions that never change, under a name: data assets and components."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, ClassVar, TypeVar

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from pydantic import AfterValidator, BeforeValidator, Field

from ..scoring.errors import AlreadyExists, NotFound
from . import store
from .documents import as_text, did_you_mean
from .names import AssetName, document_name, document_prefix

LATEST = "latest"


def _version(value: str) -> str:
    if value.lower() == LATEST:
        raise ValueError("is what the label means: choose another, or leave version out")
    return value


class Versioned(Block):
    """One version of what a name stands for. Immutable: a change makes a new version."""

    what: ClassVar[str]
    """What it is, in messages."""
    group: ClassVar[str]
    """The group of commands that makes and archives it."""

    name: AssetName
    version: Annotated[AssetName, BeforeValidator(as_text), AfterValidator(_version)] | None = Field(
        default=None, description="By default the next."
    )
    created_at: datetime | None = Field(default=None, description="By the server's clock.")
    archived: bool = Field(default=False, description="Not listed, and never the latest.")

    @property
    def document_name(self) -> str:
        """Name of the block document of this version."""
        return document_name(self.name, str(self.version))

    @property
    def label(self) -> str:
        """`azureml:<name>:<version>`, which means this version from anywhere."""
        return f"azureml:{self.name}:{self.version}"


V = TypeVar("V", bound=Versioned)


def create_version(client: SyncPrefectClient, new: V) -> V:
    """Save under its version, or under the next whole number; two callers at once get two versions.

    Raises AlreadyExists for a version that is taken: versions never change.
    """
    if new.version is not None:
        try:
            store.create(new, new.document_name, client)
        except AlreadyExists:
            raise AlreadyExists(
                f"{new.what} {new.name!r} has a version {new.version} already, and versions never change: "
                "leave version out to get the next"
            ) from None
        return find_version(type(new), client, new.name, new.version)
    while True:
        held = [one.version or "" for one in list_versions(type(new), client, new.name)]
        number = max((int(version) for version in held if version.isdecimal()), default=0) + 1
        candidate = new.model_copy(update={"version": str(number)})
        try:
            store.create(candidate, candidate.document_name, client)
        except AlreadyExists:
            continue
        return find_version(type(new), client, new.name, str(number))


def list_versions(kind: type[V], client: SyncPrefectClient, name: str | None = None) -> list[V]:
    """All versions of one name, or of all by name; archived ones too, oldest first."""
    equal = {} if name is None else {"name": name}
    found = store.list_dated(kind, client, None if name is None else document_prefix(name), **equal)
    found.sort(key=lambda entry: (entry[0].name, entry[1]))
    return [one.model_copy(update={"created_at": created}) for one, created in found]


def find_version(
    kind: type[V], client: SyncPrefectClient, name: str, version: str | None = None, label: str | None = None
) -> V:
    """One version: the named one, or for the label `latest` (or nothing) the one created last.

    An archived version is found by its number only. Raises NotFound naming what there is.
    """
    held = list_versions(kind, client, name)
    if not held:
        raise NotFound(f"{kind.what} {name!r} does not exist{_known(kind, client, name)}")
    if version is not None:
        if found := [one for one in held if one.version == version]:
            return found[0]
        raise NotFound(f"{kind.what} {name!r} has no version {version!r}: it has {_numbers(held)}")
    if label not in (None, LATEST):
        raise NotFound(f"{kind.what} {name!r} has no label {label!r}: write @latest, or a version ({_numbers(held)})")
    current = [one for one in held if not one.archived]
    if not current:
        raise NotFound(
            f"{kind.what} {name!r} has archived versions only ({_numbers(held)}): name one, or bring it back with "
            f"`prefect-batch {kind.group} restore {name} --version VERSION`"
        )
    return current[-1]


def _numbers(held: Sequence[Versioned]) -> str:
    shown = ", ".join(f"{one.version} (archived)" if one.archived else str(one.version) for one in held[-20:])
    return f"..., {shown}" if len(held) > 20 else shown


def _known(kind: type[Versioned], client: SyncPrefectClient, name: str) -> str:
    names = list(dict.fromkeys(one.name for one in list_versions(kind, client)))
    if hint := did_you_mean(name, names):
        return f": {hint}"
    make = f"make it with `prefect-batch {kind.group} create`"
    return f" (there are: {', '.join(names[:20])}): {make}" if names else f", and no other: {make}"


def set_archived(kind: type[V], client: SyncPrefectClient, name: str, version: str | None, archived: bool) -> list[V]:
    """Archive or restore one version, or all of a name; returns them. Raises NotFound."""
    chosen = [find_version(kind, client, name, version)] if version is not None else list_versions(kind, client, name)
    if not chosen:
        find_version(kind, client, name)  # says what there is instead
    for one in chosen:
        store.patch(kind, one.document_name, {"archived": archived}, client)
    return [one.model_copy(update={"archived": archived}) for one in chosen]
