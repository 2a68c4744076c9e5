"""The REST gateway: batch endpoints for callers who speak HTTP, in front of a Prefect server that they do not reach."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from . import rest_endpoints, rest_jobs, rest_outputs
from .callers import Provider
from .rest_access import Gateway
from .rest_errors import ErrorBody, add_handlers
from .rest_settings import GatewaySettings

_ERRORS = {
    401: "There is no token, or not a valid one.",
    403: "The caller may not do that.",
    404: "There is no such thing.",
    409: "That cannot be done as things are.",
    422: "The request says something impossible.",
    429: "The caller asks too often or too much at once: see Retry-After.",
    502: "The storage fails.",
    503: "The Prefect server does not answer: see Retry-After.",
}


def create_app(settings: GatewaySettings | None = None, providers: Sequence[Provider] = ()) -> FastAPI:
    """The gateway as an ASGI application, for the Prefect server of the environment.

    Args:
        settings: of the gateway.
        providers: that know the callers by their tokens; without any, nobody is asked who they are.
    """
    gateway = Gateway(settings or GatewaySettings(), providers)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        yield
        gateway.close()

    app = FastAPI(
        title="prefect-batch",
        summary="Batch endpoints on Prefect.",
        version=version("prefect-batch"),
        lifespan=lifespan,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.gateway = gateway
    add_handlers(app)
    errors = {status: {"model": ErrorBody, "description": about} for status, about in _ERRORS.items()}
    for routes in (rest_endpoints.router, rest_jobs.router, rest_outputs.router):
        app.include_router(routes, responses={**errors})

    @app.get("/health", operation_id="health", tags=["gateway"])
    async def health() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        """Whether the gateway itself is up."""
        return {"status": "ok"}

    return app
