"""What the entities of the Python client have in common: each says what a YAML file of it would hold.

Nothing is checked here. An entity becomes the document that its file would be, and takes the file's way from there, so
that both are held to the same rules and told the same errors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self, cast


@dataclass(kw_only=True)
class Entity:
    """A noun of the Python client. What `init` does not take is told by the server."""

    parts: ClassVar[dict[str, type[Entity]]] = {}
    """Keys that are entities themselves."""

    source: Path | None = field(default=None, init=False, repr=False)
    """The file that it was read from, in whose folder relative paths start; else they do in the working directory."""
    unknown: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    """Keys of that file that no entity has, which are refused when it is made."""

    def __post_init__(self) -> None:
        for key, kind in self.parts.items():
            if isinstance(value := getattr(self, key), Mapping):
                setattr(self, key, kind.read(cast("Mapping[str, Any]", value)))

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """The entity that a user's document describes."""
        taken = {each.name for each in fields(cls) if each.init}
        entity = cls(**{key: value for key, value in document.items() if key in taken})
        entity.unknown = {key: value for key, value in document.items() if key not in taken}
        return entity

    @classmethod
    def told(cls, document: Mapping[str, Any]) -> Self:
        """The entity as the server tells it, of which some keys are nobody else's business."""
        entity = cls.read(document)
        for each in fields(cls):
            if not each.init and each.name in entity.unknown:
                setattr(entity, each.name, entity.unknown[each.name])
        entity.unknown = {}
        return entity

    def document(self) -> dict[str, Any]:
        """The keys that were given, as a YAML file has them."""
        given = {each.name: plain(getattr(self, each.name)) for each in fields(self) if each.init}
        return self.unknown | {key: value for key, value in given.items() if value is not None}

    def named(self) -> Any:
        """What stands for it in the document of another: its name, or the whole of it."""
        return self.document()


def plain(value: Any) -> Any:
    """A value as YAML has it: no entities, no Path."""
    if isinstance(value, Entity):
        return value.named()
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(inner) for inner in cast("Sequence[Any]", value)]
    return value


@dataclass(kw_only=True)
class Asset(Entity):
    """What is kept in versions under a name: `id` names one version from anywhere."""

    name: str | None = None
    version: str | None = None
    description: str | None = None
    tags: dict[str, str] | None = None
    properties: dict[str, str] | None = None
    id: str | None = field(default=None, init=False)

    def named(self) -> Any:
        return self.id or self.document()
