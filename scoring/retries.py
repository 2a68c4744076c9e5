"""Which errors of a storage pass by themselves, and how often they are tried again.

Errors are told apart by HTTP status, errno and the names of their types, so that no client library (aiohttp, botocore,
azure) is imported for a storage that nobody uses.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar, cast

import tenacity

T = TypeVar("T")

ATTEMPTS = 5
"""How often one operation is tried at most."""

PATIENCE = 30.0
"""Seconds after which no further attempt is begun."""

WAIT = tenacity.wait_exponential_jitter(initial=0.5, max=8.0, jitter=0.5)
"""Seconds between attempts: about 0.5, 1, 2 and 4."""

TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_ERRNOS = frozenset(
    {
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.ECONNABORTED,
        errno.EPIPE,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        # What s3fs makes of SlowDown and of InternalError.
        errno.EBUSY,
        getattr(errno, "EREMOTEIO", errno.EBUSY),
    }
)
_TYPES = frozenset(
    {
        # aiohttp
        "ClientConnectionError",
        "ClientPayloadError",
        "ContentLengthError",
        "FSTimeoutError",
        # botocore
        "ConnectionClosedError",
        "ConnectionError",
        "ConnectTimeoutError",
        "FlexibleChecksumError",
        "HTTPClientError",
        "IncompleteReadError",
        "ReadTimeoutError",
        "ResponseParserError",
        "ResponseStreamingError",
        # urllib3, requests, http.client
        "ChunkedEncodingError",
        "IncompleteRead",
        "ProtocolError",
        "ProxyError",
        "Timeout",
        # azure
        "ServiceRequestError",
        "ServiceResponseError",
        # google
        "ChecksumError",
    }
)


class ShortTransfer(OSError):
    """A file arrived with another size than the storage said."""


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from: a client library's own error is often further down."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def status(error: BaseException) -> int | None:
    """The HTTP status that a client library's error carries, if any."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        about = cast("dict[str, dict[str, Any]]", response).get("ResponseMetadata", {})
        given = about.get("HTTPStatusCode")
    else:
        given = next(
            (getattr(error, name, None) for name in ("status", "status_code", "code") if hasattr(error, name)), 0
        )
    return int(given) if str(given).isdecimal() and given else None


def type_names(error: BaseException) -> set[str]:
    """The names of the error's type and of all that it derives from."""
    return {cls.__name__ for cls in type(error).__mro__}


def is_transient(error: BaseException) -> bool:
    """Whether the same operation may well succeed when it is tried again."""
    if not isinstance(error, Exception):  # told to end, perhaps in the middle of an error that would pass
        return False
    if isinstance(error, FileNotFoundError | FileExistsError | PermissionError | IsADirectoryError):
        return False
    return any(_passes(link) for link in chain(error))


def _passes(error: BaseException) -> bool:
    if isinstance(error, ShortTransfer | TimeoutError | ConnectionError):
        return True
    if status(error) in TRANSIENT_STATUS or "ConditionalRequestConflict" in str(error):
        return True
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    return not type_names(error).isdisjoint(_TYPES)


def _policy() -> dict[str, Any]:
    return {
        "retry": tenacity.retry_if_exception(is_transient),
        "stop": tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_before_delay(PATIENCE),
        "wait": WAIT,
        "reraise": True,
    }


def call(operation: Callable[[], T]) -> T:
    """Call it until it succeeds, fails for good, or was tried often enough; then its last error is raised."""
    return tenacity.Retrying(**_policy())(operation)


async def acall(operation: Callable[[], Awaitable[T]]) -> T:
    """`call` for a coroutine function."""

    async def attempt() -> T:  # tenacity awaits what is a coroutine function, not what returns a coroutine
        return await operation()

    return await tenacity.AsyncRetrying(**_policy())(attempt)
