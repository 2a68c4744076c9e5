"""What the command line shows: tables and results on stdout, progress and messages on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
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


def result(text: str) -> None:
    """A line on stdout, for scripts too: never folded."""
    sys.stdout.write(f"{text}\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under headings; plain tab-separated values when stdout is not a terminal."""
    if not out.is_terminal:
        for row in (columns, *rows):
            sys.stdout.write("\t".join("" if value is None else str(value) for value in row) + "\n")
        return
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*("" if value is None else str(value) for value in row))
    out.print(grid)


def details(values: dict[str, Any]) -> None:
    """Key and value lines."""
    width = max(len(key) for key in values)
    for key, value in values.items():
        sys.stdout.write(f"{key:<{width}}  {'' if value is None else value}\n")


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
