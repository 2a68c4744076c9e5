"""What the gateway answers when something is wrong: one JSON shape, `{"error": {"code", "message", "details"}}`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ..scoring.errors import (
    BatchError,
    Forbidden,
    InvalidDocument,
    NoServer,
    NotFound,
    StorageFailed,
    Unauthenticated,
)

_log = logging.getLogger(__name__)
_RETRY = {"Retry-After": "5"}
_STATUS: list[tuple[type[BatchError], HTTPStatus, dict[str, str]]] = [
    (InvalidDocument, HTTPStatus.UNPROCESSABLE_ENTITY, {}),
    (NotFound, HTTPStatus.NOT_FOUND, {}),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"}),
    (Forbidden, HTTPStatus.FORBIDDEN, {}),
    (NoServer, HTTPStatus.SERVICE_UNAVAILABLE, _RETRY),
    (StorageFailed, HTTPStatus.BAD_GATEWAY, _RETRY),
    (BatchError, HTTPStatus.CONFLICT, {}),
]
_CODES = {
    HTTPStatus.UNPROCESSABLE_ENTITY: "InvalidRequest",
    HTTPStatus.UNAUTHORIZED: "Unauthenticated",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "PayloadTooLarge",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalError",
}
BUSY = "the Prefect server behind this gateway does not answer: try again later"


class Problem(BaseModel):
    """What is wrong."""

    code: str
    """The status in a word."""
    message: str
    """What is wrong, and what to do, on one line."""
    details: list[str] | None = None
    """What is wrong one by one, where it is known."""


class ErrorBody(BaseModel):
    """The body of every answer from 400 up."""

    error: Problem


def answer(
    status: int, message: str, headers: Mapping[str, str] | None = None, details: list[str] | None = None
) -> JSONResponse:
    """An answer that says what is wrong."""
    known = HTTPStatus(status)
    code = _CODES.get(known, known.phrase.title().replace(" ", "").replace("-", ""))
    said = " ".join(message.split())  # what it quotes may have lines of its own
    body = ErrorBody(error=Problem(code=code, message=said, details=details))
    return JSONResponse(body.model_dump(exclude_none=True), status, dict(headers or {}))


def add_handlers(app: FastAPI) -> None:
    """Let the app answer every error in the one shape."""
    app.add_exception_handler(BatchError, _batch_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(PrefectHTTPStatusError, _from_prefect)
    app.add_exception_handler(ObjectNotFound, _gone)
    app.add_exception_handler(httpx.TransportError, _unreachable)
    app.add_exception_handler(TimeoutError, _unreachable)
    app.add_exception_handler(Exception, _unexpected)


def _batch_error(request: Request, error: Exception) -> JSONResponse:
    status, headers = next((status, headers) for kind, status, headers in _STATUS if isinstance(error, kind))
    # How to start a server is nothing to a caller.
    return answer(status, BUSY if isinstance(error, NoServer) else str(error), headers)


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return answer(error.status_code, error.detail, error.headers)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    details = [f"{'.'.join(map(str, cause['loc']))}: {cause['msg']}" for cause in error.errors()]
    return answer(422, "; ".join(details), details=details)


def _from_prefect(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PrefectHTTPStatusError)
    status = error.response.status_code
    if status >= 500 or status in (408, 429):
        return _unreachable(request, error)
    if status in (401, 403):  # the gateway's own rights, of which its callers know nothing
        return _unexpected(request, error)
    return answer(422, "the Prefect server refuses what was sent: compare it with the endpoint's openapi.json")


def _gone(request: Request, error: Exception) -> JSONResponse:
    return answer(404, "it was deleted a moment ago")


def _unreachable(request: Request, error: Exception) -> JSONResponse:
    _log.warning("%s %s: the Prefect server does not answer: %r", request.method, request.url.path, error)
    return answer(503, BUSY, _RETRY)


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer(500, "something went wrong in the gateway: its log says what")
