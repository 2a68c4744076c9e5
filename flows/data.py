"""The types of a pipeline flow's parameters: what a user imports to write one.

    from prefect_batch.flows.data import InputFolder, OutputFile

    @flow
    def count(images: InputFolder, counts: OutputFile, limit: int = 100) -> None: ...

Each stands for a place on any storage and is used like a path: `open(images / "1.png")`, `pd.read_csv(table)`. Data is
brought to the machine that uses it when it is first used there. What is written to an output appears under the output's
own name when the whole flow has succeeded. Made of a path, `InputFolder("tests/images")`, they need no server.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

CURRENT_JOB: ContextVar[str | None] = ContextVar("CURRENT_JOB", default=None)
"""Reference of the folder of the pipeline job that this code runs in."""
INTERMEDIATE = "folders"
"""Where in a job's folder those of `folder()` lie."""


@dataclass(frozen=True, repr=False)
class Pointer(os.PathLike[str]):
    """A file or a folder on some storage.

    Args:
        reference: a path, a URL, or a place in a datastore.
        job: reference of the folder of the job that it belongs to.
    """

    reference: str
    job: str | None = None

    is_folder: ClassVar[bool]
    is_output: ClassVar[bool]

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference", os.fspath(self.reference))

    @property
    def path(self) -> Path:
        """Where it lies on this machine, absolute. What is remote is fetched first; the folder of an output is made.

        Raises FileNotFoundError, OSError, StorageFailed.
        """
        from . import data_files  # storages take a while to import

        find = data_files.writable if self.is_output else data_files.readable
        return find(self.reference, self.is_folder, self.job)

    @property
    def name(self) -> str:
        """Of the file or folder itself."""
        return self.reference.rstrip("/").rpartition("/")[2]

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reference!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.plain_serializer_function_ser_schema(_reference)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "title": cls.__name__}

    @classmethod
    def _validated(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, (str, Path)):
            return cls(os.fspath(value))
        raise ValueError(f"{value!r} is no {cls.__name__}, and no path to make one of")


def _reference(value: Pointer) -> str:
    return value.reference


class _Folder(Pointer):
    is_folder = True

    def __truediv__(self, name: str | os.PathLike[str]) -> Path:
        return self.path / name

    def iterdir(self) -> Iterator[Path]:
        return self.path.iterdir()

    def glob(self, pattern: str) -> Iterator[Path]:
        return self.path.glob(pattern)

    def rglob(self, pattern: str) -> Iterator[Path]:
        return self.path.rglob(pattern)

    def files(self) -> list[Path]:
        """Every file in it and below, in the order of their names."""
        return sorted(path for path in self.rglob("*") if path.is_file())


class _File(Pointer):
    is_folder = False

    def open(self, mode: str = "r", **options: Any) -> IO[Any]:
        return self.path.open(mode, **options)

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.path.read_text(encoding)

    def read_bytes(self) -> bytes:
        return self.path.read_bytes()


class InputFolder(_Folder):
    """A folder that is read."""

    is_output = False


class InputFile(_File):
    """A file that is read."""

    is_output = False


class OutputFolder(_Folder):
    """A folder that is written to."""

    is_output = True

    @property
    def input(self) -> InputFolder:
        """The same folder, for the tasks that read what others have written to it."""
        return InputFolder(self.reference, self.job)


class OutputFile(_File):
    """A file that is written."""

    is_output = True

    @property
    def input(self) -> InputFile:
        """The same file, for the tasks that read what another has written."""
        return InputFile(self.reference, self.job)

    def write_text(self, text: str, encoding: str = "utf-8") -> int:
        return self.path.write_text(text, encoding)

    def write_bytes(self, data: bytes) -> int:
        return self.path.write_bytes(data)


def folder(name: str) -> OutputFolder:
    """A folder between tasks: kept with the job, under this name, and part of no output.

    One of the same name is the same folder. Outside of a job, as in tests of a task, it is a temporary folder.

    Raises ValueError for what is no plain name.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(f"folder({name!r}): a name is letters, digits, '_', '-' and '.'")
    if (job := CURRENT_JOB.get()) is None:
        return OutputFolder(str(Path(tempfile.mkdtemp(prefix=f"{name}-"))))
    return OutputFolder(f"{job}/{INTERMEDIATE}/{name}", job)
