"""Messages over a pipe: eight bytes of length, and behind them so many bytes.

The supervisor's end must never wait longer than it was told to, also in the middle of a message, and also while a
full pipe takes no more: hence `wait`, which is asked before each read and write.
"""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Callable

_LENGTH = struct.Struct("!Q")
_PIECE = 1024 * 1024

Wait = Callable[[int, int], None]
"""Takes a file descriptor and select.POLLIN or POLLOUT; returns when that is possible, or raises."""


def receive(fd: int, wait: Wait | None = None) -> bytes:
    """The next message. Raises EOFError when the other end is closed."""
    (size,) = _LENGTH.unpack(_read(fd, _LENGTH.size, wait))
    return _read(fd, size, wait)


def send(fd: int, message: bytes, wait: Wait | None = None) -> None:
    """Send a message. Raises BrokenPipeError when the other end is closed."""
    # No more than PIPE_BUF bytes are sure to go without blocking once poll() said that the pipe takes some.
    piece = _PIECE if wait is None else select.PIPE_BUF
    for data in (_LENGTH.pack(len(message)), message):
        left = memoryview(data)
        while left:
            if wait is not None:
                wait(fd, select.POLLOUT)
            left = left[os.write(fd, left[:piece]) :]


def _read(fd: int, size: int, wait: Wait | None) -> bytes:
    pieces: list[bytes] = []
    while size:
        if wait is not None:
            wait(fd, select.POLLIN)
        piece = os.read(fd, min(size, _PIECE))
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
