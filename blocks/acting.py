"""As whom code looks for datastores: the service itself, or the principal that a job runs as.

A place that is opened with the rights of a principal says so in its reference, `principal://<name>/<reference>`, so
that it is opened so wherever it travels. Only open_folder() understands it; nobody may write it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import quote, unquote

_SCHEME = "principal://"
_PRINCIPAL: ContextVar[str | None] = ContextVar("PRINCIPAL", default=None)


@contextmanager
def acting_as(principal: str | None) -> Generator[None]:
    """Look for datastores as a principal within the block; None is the service itself."""
    token = _PRINCIPAL.set(principal)
    try:
        yield
    finally:
        _PRINCIPAL.reset(token)


def acting_principal() -> str | None:
    """As whom this code acts; None is the service itself."""
    return _PRINCIPAL.get()


def bound(reference: str, principal: str | None) -> str:
    """A reference that is opened as the principal; as it is for None."""
    return f"{_SCHEME}{quote(principal, safe='')}/{reference}" if principal is not None else reference


def unbound(reference: str) -> tuple[str | None, str]:
    """The principal that a reference is opened as, if any, and the reference that it had without."""
    if not reference.startswith(_SCHEME):
        return None, reference
    principal, _, inner = reference.removeprefix(_SCHEME).partition("/")
    return unquote(principal), inner
