"""Exceptions as short text: a type, one bounded message, a bounded traceback."""

from __future__ import annotations

import traceback

MESSAGE_LIMIT, TRACEBACK_LIMIT = 1_000, 8_000


def describe(error: BaseException) -> tuple[str, str]:
    """An exception's type and its message on one line, at most 1,000 characters.

    MLflow repeats the whole data in its messages, hence the bound.
    """
    message = " ".join(str(error).split()) or type(error).__name__
    return type(error).__name__, _cut(message, MESSAGE_LIMIT)


def traceback_text(error: BaseException) -> str:
    """The exception's traceback, at most 8,000 characters: the end is kept, where the cause is."""
    text = "".join(traceback.format_exception(error))
    return text if len(text) <= TRACEBACK_LIMIT else "…" + text[-TRACEBACK_LIMIT:]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
