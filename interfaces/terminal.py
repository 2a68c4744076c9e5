"""What the command line shows: tables and results on stdout, progress and messages on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from .formats import Wanted, plain

# Names and paths are shown as they are: `a:x:1` holds no emoji, `[old]` is no style.
out = Console(markup=False, emoji=False, highlight=False)
err = Console(markup=False, emoji=False, highlight=False, stderr=True)


class Update(Protocol):
    """Moves a bar on."""

    def __call__(
        self, state: str, done: int, total: int | None, failed: int, units: tuple[str, str] = ("mini-batches", "files")
    ) -> None:
        """Show how far a job is.

        Args:
            state: a word on it.
            done: mini-batches, or steps.
            total: of them in all; None while not known.
            failed: files, or steps.
            units: what is counted, and what failed.
        """


_wanted = Wanted()


def want(wanted: Wanted) -> None:
    """Say in which form results are wanted from now on."""
    global _wanted
    _wanted = wanted


def show(data: Any, people: Callable[[], None]) -> None:
    """A command's result, on stdout: in the format that is wanted, or as people read it.

    Args:
        data: the result as scripts read it, with Azure ML's keys where that has the thing.
        people: writes it for people, and for scripts that take a single line.
    """
    if _wanted.format is None:
        people()
    elif _wanted.format == "jsonc" and out.is_terminal:
        out.print_json(_wanted.text(data))
    else:
        sys.stdout.write(_wanted.text(data))


def result(text: str, data: Any = None) -> None:
    """A line, never folded. `data`: what it stands for."""
    show(text if data is None else data, lambda: _line(text))


def results(lines: Sequence[str], data: Any = None) -> None:
    """Lines, never folded. `data`: what they stand for."""
    show(list(lines) if data is None else data, lambda: _line("\n".join(lines)) if lines else None)


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], data: Sequence[Any] | None = None) -> None:
    """Rows under headings; plain tab-separated values when stdout is not a terminal. `data`: what they stand for."""
    held = [list(row) for row in rows]
    keys = [_key(column) for column in columns]
    show([dict(zip(keys, row, strict=True)) for row in held] if data is None else data, lambda: _table(columns, held))


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    if not out.is_terminal:
        for row in (columns, *rows):
            _line("\t".join("" if value is None else str(value) for value in row))
        return
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*("" if value is None else str(value) for value in row))
    out.print(grid)


def moment(at: datetime | None) -> str | None:
    """A time for people, to the second, where they are."""
    return at and at.astimezone().isoformat(" ", "seconds")


def details(values: Mapping[str, Any], data: Any = None) -> None:
    """Key and value lines. `data`: what they stand for."""
    show({_key(key): value for key, value in values.items()} if data is None else data, lambda: _details(values))


def _details(values: Mapping[str, Any]) -> None:
    width = max(len(key) for key in values)
    for key, value in values.items():
        _line(f"{key:<{width}}  {'' if value is None else value}")


def _key(heading: str) -> str:
    return heading.lower().replace(" ", "_")


def document(data: Any) -> None:
    """A result that is JSON for people too."""
    show(data, lambda: out.print_json(json.dumps(plain(data))))


def note(message: str) -> None:
    """A line on stderr."""
    err.print(message, soft_wrap=True)


@contextmanager
def progress_bar() -> Generator[Update]:
    """A bar of mini-batches or steps with rate and time left; a line for each state when stderr is no terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        bar = progress.add_task("Waiting", total=None, unit="", rate="", failed="")
        last = ""

        def update(
            state: str, done: int, total: int | None, failed: int, units: tuple[str, str] = ("mini-batches", "files")
        ) -> None:
            nonlocal last
            speed = progress.tasks[0].speed
            progress.update(
                bar,
                description=state,
                completed=done,
                total=total,
                unit=units[0] if total is not None else "",
                rate=f"{speed:.1f}/s" if speed else "",
                failed=f"{failed} {units[1]} failed" if failed else "",
            )
            if not err.is_terminal and state != last:
                note(state)
            last = state

        yield update


@contextmanager
def byte_bar(what: str) -> Generator[Callable[[int, int], None]]:
    """A bar of bytes: takes those done and those in all. One line when stderr is not a terminal.

    It shows from the first call on that leaves something to do.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with ExitStack() as stack:
        progress = Progress(*columns, console=err, disable=not err.is_terminal)

        def update(done: int, total: int) -> None:
            if not progress.tasks and done >= total:
                return
            if not progress.tasks:
                stack.enter_context(progress)
                progress.add_task(what, total=total)
                if not err.is_terminal:
                    note(what)
            progress.update(progress.task_ids[0], completed=done, total=total)

        yield update
