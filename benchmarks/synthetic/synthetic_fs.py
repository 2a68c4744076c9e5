"""A filesystem of so many files that are nowhere: `synthetic://1000000/` lists a million of one byte each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fsspec.asyn import AsyncFileSystem


class SyntheticFileSystem(AsyncFileSystem):
    """Folders of 1,000 files each."""

    protocol = "synthetic"
    cachable = False

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if "/f" in path:
            return {"name": path, "size": 1, "type": "file"}
        return {"name": path, "size": 0, "type": "directory"}

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path).strip("/")
        count, _, folder = path.partition("/")
        if folder:
            many = min(1000, int(count) - 1000 * int(folder))
            found = [{"name": f"{path}/f{number:04d}", "size": 1, "type": "file"} for number in range(many)]
        else:
            folders = range(-(-int(count) // 1000))
            found = [{"name": f"{path}/{number:06d}", "size": 0, "type": "directory"} for number in folders]
        return found if detail else [entry["name"] for entry in found]

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        return b"1"[start:end]

    async def _get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        Path(lpath).write_bytes(b"1")
