"""What the commands for data assets, components and environments have in common: they are kept in versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from ..blocks import store, versions
from ..blocks.versions import Versioned
from . import terminal, views

NewVersion = Annotated[str | None, Parameter(name=["--version", "-v"], help="By default the next number.")]
Version = Annotated[str | None, Parameter(name=["--version", "-v"])]
Label = Annotated[
    str | None, Parameter(name=["--label", "-l"], help="latest, which is the default; an alias of a model.")
]
IncludeArchived = Annotated[bool, Parameter(negative=())]


def print_list(kind: type[Versioned], name: str | None, include_archived: bool, fields: Sequence[str]) -> None:
    """A table of versions, oldest first.

    Args:
        kind: of what.
        name: only of this one.
        include_archived: archived versions, too.
        fields: what a row shows of its kind.
    """
    with store.api() as client:
        found = versions.list_versions(kind, client, name)
    shown = [one for one in found if include_archived or not one.archived]
    rows = [
        (one.name, one.version, *(getattr(one, field) for field in fields), terminal.moment(one.created_at))
        for one in shown
    ]
    data = [views.of_version(one) for one in shown]
    terminal.table(("NAME", "VERSION", *map(str.upper, fields), "CREATED"), rows, data)


def print_one(kind: type[Versioned], name: str, version: str | None, label: str | None) -> None:
    """A version as JSON. Raises NotFound."""
    with store.api() as client:
        found = versions.find_version(kind, client, name, version, label)
    terminal.document(views.of_version(found))


def set_archived(kind: type[Versioned], name: str, version: str | None, archived: bool) -> None:
    """Archive or restore one version, or all; prints which. Raises NotFound."""
    with store.api() as client:
        changed = versions.set_archived(kind, client, name, version, archived)
    terminal.results([one.label for one in changed], [views.of_version(one) for one in changed])
