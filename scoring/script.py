"""A deployment with a scoring script: `init()`, `run(mini_batch)` and, if there, `shutdown()`.

The contract is that of Azure ML batch deployments: init() once a process, run() with a list of absolute file paths,
one returned element for each file that was scored. Two things are added: run() may ask for the job's parameters by
name, and output_columns may put input columns, row numbers and files beside what it returned.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from . import rows
from .contract import ItemError, Scored, ScoringSpec
from .encoded import Chunk
from .errors import InitFailed
from .items import LocalItem

if TYPE_CHECKING:
    from .columns import OutputColumns


class ScriptScorer:
    """The user's script, loaded once in this process."""

    def __init__(self, spec: ScoringSpec) -> None:
        module = _load(Path(spec.code_dir or "."), spec.scoring_script or "")
        self.spec = spec
        self.run: Callable[..., Any] = _function(module, "run", spec)
        self.params = _asked_for(self.run, spec.params)
        self.asked = _asked_columns(spec)
        self._shutdown: Callable[[], Any] | None = getattr(module, "shutdown", None)
        init: Callable[[], Any] = _function(module, "init", spec)
        init()

    def score(self, items: list[LocalItem], final: bool) -> Scored:
        """Call run() on one mini-batch."""
        result = rows.check(self.run([item.path for item in items], **self.params))
        count = len(result)
        if self.asked is not None and self.spec.output_action != "summary_only":
            from .columns import join_script

            result = join_script(result, items, self.asked, self.spec.output_format)
            if self.asked.joins:  # a row for each row or each file: none is missing
                return Scored(chunk=rows.encode(result, self.spec.output_format))
        missing = max(0, len(items) - count)
        errors = _missing_items(result, items, missing) if missing else []
        if self.spec.output_action == "summary_only":
            return Scored(chunk=Chunk(b"", count, None), failed=missing, errors=errors)
        return Scored(chunk=rows.encode(result, self.spec.output_format), failed=missing, errors=errors)

    def shutdown(self) -> None:
        if self._shutdown is not None:
            self._shutdown()


def _asked_columns(spec: ScoringSpec) -> OutputColumns | None:
    """Without output_columns a script needs no pyarrow."""
    if not spec.output_columns:
        return None
    from .columns import OutputColumns

    return OutputColumns(**spec.output_columns)


def _load(code_dir: Path, script: str) -> ModuleType:
    path = code_dir / script
    for folder in (str(path.parent), str(code_dir)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    sys.argv = [str(path)]
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise InitFailed(f"{script} is not a Python file: name the scoring script with its .py ending")
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module  # so that what the script defines can be pickled and unpickled by name
    found.loader.exec_module(module)
    return module


def _function(module: ModuleType, name: str, spec: ScoringSpec) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if not callable(function):
        raise InitFailed(f"{spec.scoring_script} has no function {name}(): a scoring script defines init() and run()")
    return function


def _asked_for(run: Callable[..., Any], params: dict[str, Any]) -> dict[str, Any]:
    """Those of the job's parameters that run() takes by name."""
    if not params:
        return {}
    try:
        signature = list(inspect.signature(run).parameters.values())
    except ValueError:  # written in C
        return params
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature):
        return params
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {parameter.name for parameter in signature[1:] if parameter.kind in by_name}
    if ignored := [name for name in params if name not in known]:
        logging.getLogger(__name__).warning("run() does not take the parameter %s", ", ".join(ignored))
    return {name: value for name, value in params.items() if name in known}


def _missing_items(result: Any, items: list[LocalItem], missing: int) -> list[ItemError]:
    """Name the files that gave no row, where the rows themselves say which files they are of.

    A script returns fewer elements than files for those it could not score, and does not say which. When the rows
    hold the files' paths, names or stems, the files without a row are known; else each lost element is reported
    without a name.
    """
    seen = _cells(result)
    lost = [
        item.name for item in items if not seen & {item.path, item.name, Path(item.path).name, Path(item.path).stem}
    ]
    kind, message = "MissingRow", f"run() returned {len(result)} elements for {len(items)} files"
    if len(lost) == missing:
        return [ItemError([name], kind, f"{message}: none for this one") for name in lost]
    return [ItemError([None], kind, f"{message}; which one is missing is not known") for _ in range(missing)]


def _cells(result: Any) -> set[str]:
    """Every text and path in the rows, and the words of list elements. No numbers: a label or an index 1 is not the
    file `1.png`."""
    values: Iterable[Any]
    if isinstance(result, pd.DataFrame):
        columns: list[Any] = [result.iloc[:, i] for i in range(result.shape[1])]
        values = itertools.chain(*columns, result.index)
    else:
        values = itertools.chain.from_iterable(_values(element) for element in result)
    return {str(value) for value in values if isinstance(value, (str, PurePath))}


def _values(element: Any) -> Iterable[Any]:
    if isinstance(element, str):
        return [element, *element.replace(",", " ").replace(":", " ").split()]
    if isinstance(element, dict):
        return cast("dict[Any, Any]", element).values()
    return cast("Iterable[Any]", element) if isinstance(element, Iterable) else [element]
