"""What `--output` and `--query` make of a command's result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from ..scoring.errors import InvalidDocument

Format = Literal["json", "jsonc", "table", "tsv", "yaml", "none"]


@dataclass(frozen=True)
class Wanted:
    """The form in which a result is wanted; without a format, the one for people."""

    format: Format | None = None
    query: str | None = None

    def __post_init__(self) -> None:
        if self.query is not None:
            _compiled(self.query)
        if self.query is not None and self.format is None:
            object.__setattr__(self, "format", "json")

    def text(self, data: Any) -> str:
        """A result as this says, with the end of its last line; empty where nothing is to be printed."""
        data = plain(data)
        if self.query is not None:
            data = _found(self.query, data)
        if self.format == "tsv":
            return "".join(f"{_row(item)}\n" for item in _items(data))
        if self.format == "table":
            return _table(data)
        if self.format == "none" or (data is None and self.query is None):
            return ""
        if self.format == "yaml":
            import yaml

            return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120).removesuffix("...\n")
        return f"{json.dumps(data, indent=2, ensure_ascii=False)}\n"


def plain(data: Any) -> Any:
    """Data as JSON has it: what it does not know (dates, ids, paths) as text."""
    return json.loads(json.dumps(data, default=_text))


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _compiled(query: str) -> Any:
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.compile(query)  # pyright: ignore[reportUnknownMemberType]
    except JMESPathError as error:
        reason = str(error).removeprefix("Invalid jmespath expression: ").splitlines()[0].rstrip(":")
        raise InvalidDocument(f"--query {query!r}: no JMESPath expression: {reason}") from None


def _found(query: str, data: Any) -> Any:
    from jmespath.exceptions import JMESPathError

    try:
        return _compiled(query).search(data)
    except JMESPathError as error:
        raise InvalidDocument(f"--query {query!r}: {str(error).splitlines()[0]}") from None


def _items(data: Any) -> list[Any]:
    if data is None:
        return []
    return cast("list[Any]", data) if isinstance(data, list) else [data]


def _values(item: Any) -> list[Any]:
    if isinstance(item, Mapping):
        return list(cast("Mapping[str, Any]", item).values())
    return cast("list[Any]", item) if isinstance(item, list) else [item]


def _row(item: Any) -> str:
    """A line of tab-separated values: what is no mapping and no list, stands there as it is."""
    if not isinstance(item, (dict, list)):
        return _cell(item)
    return "\t".join(" ".join(_cell(value).split()) for value in _values(item))


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _table(data: Any) -> str:
    """Columns under headings. Mappings show those of their values that fit into a cell."""
    items = _items(data)
    rows: list[Sequence[str]]
    if items and all(isinstance(item, dict) for item in items):
        keys = [key for key in _keys(items) if any(not isinstance(item.get(key), (dict, list)) for item in items)]
        rows = [[" ".join(_cell(item.get(key)).split()) for key in keys] for item in items]
        headings = [key.replace("_", " ").capitalize() for key in keys]
    else:
        rows = [[" ".join(_cell(value).split()) for value in _values(item)] for item in items]
        columns = max(map(len, rows), default=0)
        rows = [[*row, *[""] * (columns - len(row))] for row in rows]
        headings = ["Result"] if columns == 1 else [f"Column{number}" for number in range(1, columns + 1)]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [headings, ["-" * width for width in widths], *rows] if items else []
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def _keys(items: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for item in items for key in item))
