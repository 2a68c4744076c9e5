"""A folder of Parquet parts: what its files are called. Knows no pyarrow: who only asks need not wait for it."""

from __future__ import annotations

import re

from ..scoring.storage import Folder

SUCCESS = "_SUCCESS"
"""Written last: the folder is whole when it is there."""
_PART = re.compile(r"part-\d{5,}\.parquet")


def part_name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def is_part(name: str) -> bool:
    return _PART.fullmatch(name) is not None


def parts_in(output: Folder) -> list[str]:
    """What of a folder of parts is there; _SUCCESS, which says that it is whole, comes first."""
    return [name for name in output.names() if name == SUCCESS or is_part(name)]
