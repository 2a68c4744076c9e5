"""YAML files and requests as validated models, with errors that fit on one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import yaml
from pydantic import BaseModel, BeforeValidator, ValidationError

from ..scoring.errors import InvalidDocument

M = TypeVar("M", bound=BaseModel)


def as_text(value: Any) -> Any:
    """A number in YAML is meant as the text it was written as."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(as_text)]


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is an error instead of silently the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class Where:
    """A document or a key in it, as messages name it: `pipeline.yml: line 12: jobs.score.inputs.data`."""

    file: str
    node: yaml.Node | None = field(default=None, repr=False)
    keys: tuple[str, ...] = ()

    def at(self, *keys: str) -> Where:
        """A key below this one. It need not be there: then its line is that of the deepest one above that is."""
        return replace(self, keys=(*self.keys, *keys))

    @property
    def line(self) -> str:
        """`line 12: `, or nothing where it is not known."""
        found = self._lines()
        return f"line {found[-1]}: " if found else ""

    @property
    def is_there(self) -> bool:
        """Whether the document is known to have this key."""
        return len(self._lines()) == len(self.keys)

    def _lines(self) -> list[int]:
        """Of each key on the way, as far as they are there."""
        node, lines = self.node, list[int]()
        for key in self.keys:
            pairs: list[tuple[yaml.Node, yaml.Node]] = node.value if isinstance(node, yaml.MappingNode) else []
            found = next((pair for pair in pairs if pair[0].value == key), None)
            if found is None:
                break
            node = found[1]
            lines.append(found[0].start_mark.line + 1)
        return lines

    @property
    def name(self) -> str:
        """The key, from the top: `jobs.score.inputs.data`."""
        return ".".join(self.keys)

    def __str__(self) -> str:
        return f"{self.file}: {self.line}{self.name}".removesuffix(": ")

    def error(self, message: str) -> InvalidDocument:
        return InvalidDocument(f"{self}: {message}")


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping, without its `$schema`. Raises InvalidDocument."""
    return load_located(path)[0]


def load_located(path: Path) -> tuple[dict[str, Any], Where]:
    """What load_yaml gives, and where its keys stand. Raises InvalidDocument."""
    try:
        loader = _UniqueKeys(path.read_text(encoding="utf-8"))  # a SafeLoader
        node = loader.get_single_node()
        data: Any = loader.construct_document(node) if node is not None else None  # pyright: ignore[reportUnknownMemberType]
    except FileNotFoundError:
        raise InvalidDocument(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDocument(f"{path}: cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidDocument(f"{path}: {where}not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # a character that YAML forbids; a date that no calendar has
        raise InvalidDocument(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise InvalidDocument(f"{path}: must be a mapping of keys to values")
    data.pop("$schema", None)  # pyright: ignore[reportUnknownMemberType]
    return data, Where(str(path), node)  # pyright: ignore[reportUnknownVariableType]


def validate(model: type[M], data: Mapping[str, Any], where: str | Where, keys: set[str] | None = None) -> M:
    """`data` as a `model`.

    Args:
        model: what it must be.
        where: named first in errors: a file, a key in a file, or `settings` of a request.
        keys: the keys allowed at the top, for a model (a Prefect block) that would itself let any pass.

    Raises InvalidDocument naming where, key, value and what is allowed.
    """
    where = Where(where) if isinstance(where, str) else where
    unknown = [str(key) for key in data if keys is not None and key not in keys]
    if unknown:
        key = where.at(unknown[0])
        raise InvalidDocument(f"{where.file}: {key.line}{_unknown_key(key.name, keys or set())}")
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise InvalidDocument(f"{where.file}: {explain(error, model, where)}") from None


def explain(error: ValidationError, model: type[BaseModel], where: Where | None = None) -> str:
    """A validation error's causes, on one line.

    Args:
        error: of the validation.
        model: what was expected.
        where: the document; lines of its keys are told if it knows them.
    """
    above = where or Where("")
    causes: list[str] = []
    found = error.errors(include_url=False)
    deepest = {
        _keys(cause["loc"])[0]: len(cause["loc"])
        for cause in sorted(found, key=lambda c: len(c["loc"]))
        if cause["loc"]
    }
    for cause in found:
        if cause["type"] == "default_factory_not_called":
            continue  # it waited for keys that are at fault themselves
        if cause["loc"] and cause["type"].endswith("_type") and len(cause["loc"]) < deepest[_keys(cause["loc"])[0]]:
            continue  # "should be a string" where another branch of the union was meant and says more
        # Branches of a union report one by one under names of their own: only the keys are the user's.
        key = _key(above, cause["loc"])
        location, line = key.name, key.line
        if cause["type"] == "extra_forbidden":
            causes.append(f"{line}{_unknown_key(location, _siblings(model, cause['loc']))}")
        elif cause["type"] == "missing":
            causes.append(f"{line}{location} is missing")
        else:
            message = cause["msg"].removeprefix("Value error, ").replace("Input should", "should")
            if cause["type"] in ("dict_type", "model_type", "model_attributes_type"):
                message = "must be a mapping of keys to values"
            secret = "credentials" in cause["loc"]
            given = "" if isinstance(cause["input"], dict) or not location or secret else f" {cause['input']!r}"
            causes.append(f"{line}{location}:{given} {message}" if location else message)
    return "; ".join(dict.fromkeys(causes))


def _keys(location: tuple[int | str, ...]) -> list[str]:
    return [str(part) for part in location if not _is_branch(str(part))]


def _key(above: Where, location: tuple[int | str, ...]) -> Where:
    """The user's key, which may be called as a branch is."""
    for part in map(str, location):
        if not _is_branch(part) or above.at(part).is_there:
            above = above.at(part)
    return above


def _is_branch(part: str) -> bool:
    a_class = part[:1].isupper() and not part.isupper()  # an environment variable is upper case throughout
    return part in ("int", "str", "float", "bool") or "[" in part or part.startswith("function-") or a_class


def _siblings(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    current: Any = model
    for part in location[:-1]:
        inner = getattr(current, "model_fields", {}).get(part)
        if inner is None:  # a branch, or a key of the user's own in a mapping of models
            continue
        current = _model_in(inner.annotation) or inner.annotation
    return set(getattr(current, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    """The first model in a type such as `list[Step] | None`, or None."""
    if hasattr(annotation, "model_fields"):
        return annotation
    within: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return next((model for part in within if (model := _model_in(part)) is not None), None)


def _unknown_key(key: str, known: set[str]) -> str:
    *_, last = key.split(".")
    known_keys = f"known keys are {', '.join(sorted(known))}"
    return f"{key} is not a known key: {did_you_mean(last, known) or known_keys}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean data?`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def merged(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A document with changes laid over it, key by key at every depth."""
    result = dict(data)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            value = merged(cast("Mapping[str, Any]", below), cast("Mapping[str, Any]", value))
        result[key] = value
    return result
