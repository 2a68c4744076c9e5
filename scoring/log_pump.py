"""What a child process prints: into its log file, and line by line to whoever wants it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

LogSink = Callable[[int, str], None]
"""Takes a level of the logging module and a line without its end."""

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
_LINE = 65_536


def pump(stream: IO[bytes], log_file: Path, heading: str, take: Callable[[str], object]) -> None:
    """Append what comes to the log file and hand on each line that is not blank, until the stream ends.

    It must go on whatever happens to either, a full disk or a broken sink: a child whose print() fails, or waits for
    ever, would be the next to fail.

    Args:
        stream: closed at its end.
        log_file: local.
        heading: what the file says before.
        take: gets each line without its end.
    """
    with stream, _open_log(log_file) as log:
        with contextlib.suppress(OSError):
            log.write(f"--- {heading}\n".encode())
        while line := stream.readline(_LINE):
            with contextlib.suppress(OSError):
                log.write(line)
            if text := line.decode(errors="replace").rstrip():
                with contextlib.suppress(Exception):
                    take(text)


def hand_on(text: str, sink: LogSink) -> None:
    """Give a sink a line with the level that it was logged with; what was only printed counts as INFO."""
    match = _LOGGED.match(text)
    sink(_LEVELS[match[1]] if match else _LEVELS["INFO"], text[match.end() :] if match else text)


def _open_log(path: Path) -> IO[bytes]:
    try:
        return path.open("ab", buffering=0)
    except OSError:
        return Path(os.devnull).open("ab", buffering=0)
