"""The file of a user's flow: found, imported beside its helper modules, and forgotten again."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path, PurePosixPath
from typing import Any, cast

from prefect import Flow

from ..scoring.errors import InvalidDocument

FORM = "flow: pipelines.py:name_of_the_flow"


def split(entrypoint: str) -> tuple[str, str]:
    """File, relative to its folder, and name of the flow. Raises InvalidDocument."""
    file, colon, name = entrypoint.rpartition(":")
    path = PurePosixPath(file)
    if not colon or path.suffix != ".py" or path.is_absolute() or ".." in path.parts or not name.isidentifier():
        raise InvalidDocument(f"flow: {entrypoint!r} is not understood: write {FORM}")
    return str(path), name


def load_flow(folder: Path, entrypoint: str) -> Flow[Any, Any]:
    """Import a user's flow. Whatever its file raises is raised.

    The folder and the file's own go to the front of sys.path, as for a script: see forget().

    Args:
        folder: absolute path of what was deployed.
        entrypoint: `pipelines.py:score`.

    Raises InvalidDocument.
    """
    file, name = split(entrypoint)
    if not (folder / file).is_file():
        raise InvalidDocument(f"flow: there is no {file} in {folder}: write {FORM}")
    module_name = _module_name(folder, PurePosixPath(file))
    if module_name in sys.modules:
        raise InvalidDocument(f"flow: {file} has the name of a module that is loaded already: rename it")
    expose(folder, file)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # what was deployed stays as it is
    try:
        module = importlib.import_module(module_name)
    finally:
        sys.dont_write_bytecode = written
    found = getattr(module, name, None)
    if not isinstance(found, Flow):
        flows = [key for key, value in vars(module).items() if isinstance(value, Flow)]
        what = "is no flow: decorate it with @flow" if found is not None else "is not there"
        raise InvalidDocument(f"flow: {file}: {name} {what} (flows in it: {', '.join(flows) or 'none'})")
    return cast("Flow[Any, Any]", found)


def _module_name(folder: Path, file: PurePosixPath) -> str:
    """`package.pipelines` for a file in a package, else `pipelines`. Raises InvalidDocument."""
    parts = file.with_suffix("").parts
    if not parts[-1].isidentifier():
        raise InvalidDocument(f"flow: {file} cannot be imported: give it a name of letters, digits and underscores")
    packages = [folder.joinpath(*parts[:depth]) for depth in range(1, len(parts))]
    return ".".join(parts) if all((package / "__init__.py").is_file() for package in packages) else parts[-1]


def expose(folder: Path, file: str) -> None:
    """Let modules of the folder, and of that of a file in it, be imported before all others."""
    for entry in (str(folder), str((folder / file).parent)):
        if entry not in sys.path:
            sys.path.insert(0, entry)


def forget(folder: Path) -> None:
    """Undo expose(), and unload what was imported from the folder."""
    sys.path[:] = [entry for entry in sys.path if not _is_below(entry, folder)]
    for name in modules_of(folder):
        del sys.modules[name]


def modules_of(folder: Path) -> list[str]:
    """Names of the loaded modules whose source lies in the folder."""
    places = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    return [name for name, file in places.items() if file is not None and _is_below(file, folder)]


def _is_below(path: str, folder: Path) -> bool:
    return Path(path).is_relative_to(folder)


def line_of(error: BaseException, folder: Path) -> str:
    """`pipelines.py: line 3: ` of the user's line that an error comes from, or nothing."""
    found = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        found.append((error.filename, error.lineno))
    file, line = next(((file, line) for file, line in reversed(found) if _is_below(file, folder)), ("", None))
    return f"{Path(file).relative_to(folder)}: line {line}: " if file else ""
