"""YAML files and requests as validated models, with errors that fit on one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

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


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping, without its `$schema`. Raises InvalidDocument."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # a SafeLoader
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
    return data  # pyright: ignore[reportUnknownVariableType]


def validate(model: type[M], data: Mapping[str, Any], where: str, keys: set[str] | None = None) -> M:
    """`data` as a `model`.

    Args:
        model: what it must be.
        where: named first in errors: a file, or `settings` of a request.
        keys: the keys allowed at the top, for a model (a Prefect block) that would itself let any pass.

    Raises InvalidDocument naming where, key, value and what is allowed.
    """
    unknown = [key for key in data if keys is not None and key not in keys]
    if unknown:
        raise InvalidDocument(f"{where}: {_unknown_key(str(unknown[0]), keys or set())}")
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise InvalidDocument(f"{where}: {explain(error, model)}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """A validation error's causes, on one line."""
    causes: list[str] = []
    found = error.errors(include_url=False)
    deepest = {
        _keys(cause["loc"])[0]: len(cause["loc"])
        for cause in sorted(found, key=lambda c: len(c["loc"]))
        if cause["loc"]
    }
    for cause in found:
        if cause["loc"] and cause["type"].endswith("_type") and len(cause["loc"]) < deepest[_keys(cause["loc"])[0]]:
            continue  # "should be a string" where another branch of the union was meant and says more
        # Branches of a union report one by one under names of their own: only the keys are the user's.
        location = ".".join(_keys(cause["loc"]))
        if cause["type"] == "extra_forbidden":
            causes.append(_unknown_key(location, _siblings(model, cause["loc"])))
        elif cause["type"] == "missing":
            causes.append(f"{location} is missing")
        else:
            message = cause["msg"].removeprefix("Value error, ").replace("Input should", "should")
            if cause["type"] in ("dict_type", "model_type", "model_attributes_type"):
                message = "must be a mapping of keys to values"
            secret = "credentials" in cause["loc"]
            given = "" if isinstance(cause["input"], dict) or not location or secret else f" {cause['input']!r}"
            causes.append(f"{location}:{given} {message}" if location else message)
    return "; ".join(dict.fromkeys(causes))


def _keys(location: tuple[int | str, ...]) -> list[str]:
    return [str(part) for part in location if not _is_branch(str(part))]


def _is_branch(part: str) -> bool:
    a_class = part[:1].isupper() and not part.isupper()  # an environment variable is upper case throughout
    return part in ("int", "str", "float", "bool") or "[" in part or part.startswith("function-") or a_class


def _siblings(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    current: Any = model
    for part in location[:-1]:
        if _is_branch(str(part)):
            continue
        current = getattr(getattr(current, "model_fields", {}).get(part), "annotation", None)
        current = next((o for o in getattr(current, "__args__", ()) if hasattr(o, "model_fields")), current)
    return set(getattr(current, "model_fields", {}))


def _unknown_key(key: str, known: set[str]) -> str:
    *_, last = key.split(".")
    close = difflib.get_close_matches(last, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known keys are {', '.join(sorted(known))}"
    return f"{key} is not a known key: {hint}"
