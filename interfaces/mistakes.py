"""Errors as the one line that the command line says."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..scoring.errors import BatchError, NoServer

if TYPE_CHECKING:
    from cyclopts import CycloptsError

_URL = "PREFECT_API_URL must be the address of a Prefect server's API, as in http://127.0.0.1:4200/api"


def of_usage(error: CycloptsError, program: str) -> str:
    """What is wrong with a command line, and where to read on."""
    command = " ".join([program, *(error.command_chain or ())])
    said = _flat(str(error))
    return f"{said}{'' if said.endswith(('.', '?')) else '.'} See `{command} --help`"


def explained(error: Exception) -> str:
    """What went wrong, and what to do next."""
    if isinstance(error, BatchError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or _flat(str(error)) or type(error).__name__}"
    return _of_the_server(error) or (
        f"{type(error).__name__}: {_flat(str(error))[:500]}: this was not foreseen; --debug shows where it comes from"
    )


def _of_the_server(error: Exception) -> str | None:
    """What a failed request to the Prefect server means; None for another error."""
    if "httpx" not in sys.modules:
        return None
    import httpx

    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return str(NoServer())
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError)):
        return f"{_flat(str(error))}: {_URL}"
    if isinstance(error, httpx.TimeoutException):
        return "the Prefect server did not answer in time: look at its log, then try again"
    if isinstance(error, httpx.HTTPStatusError):
        return _of_status(error.response.status_code, _flat(error.response.text))
    if isinstance(error, httpx.TransportError):
        return f"the connection to the Prefect server broke ({_flat(str(error)) or type(error).__name__}): try again"
    return _of_status(404, "") if type(error).__name__ == "JSONDecodeError" else None  # a web page answers


def _of_status(status: int, detail: str) -> str:
    if status == 401:
        return "the Prefect server wants to know who calls: set PREFECT_API_AUTH_STRING or PREFECT_API_KEY"
    if status == 403:
        return "the Prefect server does not allow that: ask whoever runs it"
    if status in (404, 405):
        return f"what answers is not the API of a Prefect server: {_URL}"
    return f"the Prefect server answered {status}: {detail[:300]}"


def _flat(text: str) -> str:
    return " ".join(text.split())
