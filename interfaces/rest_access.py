"""Who calls, whether they may, and the Prefect server behind the gateway."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Annotated, ParamSpec, TypeVar

import anyio
import anyio.to_thread
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from starlette.exceptions import HTTPException

from ..blocks import store
from ..blocks.grants import Action
from ..blocks.names import is_name
from ..flows.publication import published
from ..scoring.errors import Forbidden, NotFound, Unauthenticated
from .callers import ANYONE, Caller, Provider
from .rest_limits import Limits, Strangers
from .rest_settings import GatewaySettings
from .tokens import authenticate

P = ParamSpec("P")
T = TypeVar("T")

_NO_ENDPOINT = "there is no endpoint of that name"
_THREADS = 8
"""More would only wait for each other within the Prefect server, whose database takes one write at a time."""
_DOORS = 4
"""Threads that find out who calls."""
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_bearer = HTTPBearer(auto_error=False, description="A signed token (JWT) or an API key.")
"""For the OpenAPI document alone."""


class Gateway:
    """What all requests share.

    Args:
        settings: of the gateway.
        providers: that know the callers by their tokens; without any, nobody is asked who they are.
    """

    def __init__(self, settings: GatewaySettings, providers: Sequence[Provider]) -> None:
        self.settings, self.providers = settings, providers
        self.limits = Limits(settings.requests_per_second, settings.concurrent_requests)
        self.strangers = Strangers(settings.requests_per_second)
        # Threads of their own: who has proved nothing yet waits for others of that kind, and holds up nobody else.
        self._threads, self._doors = anyio.CapacityLimiter(_THREADS), anyio.CapacityLimiter(_DOORS)
        self._open = ExitStack()
        self._lock = threading.Lock()
        self._client: SyncPrefectClient | None = None

    @property
    def client(self) -> SyncPrefectClient:
        """Of the Prefect server: one for all, as making one takes longer than most requests. Raises NoServer."""
        with self._lock:
            if self._client is None:
                self._client = self._open.enter_context(store.api())
            return self._client

    def close(self) -> None:
        """Let the connections to the Prefect server go."""
        self._open.close()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A function that waits for others, in a thread. Raises TimeoutError when it takes too long."""
        return await self._in_thread(partial(function, *args, **kwargs), self._threads)

    async def authenticate(self, header: str | None) -> Caller:
        """Whoever sends that header. Raises Unauthenticated, TimeoutError."""
        return await self._in_thread(partial(authenticate, self.providers, header), self._doors)

    async def _in_thread(self, call: Callable[[], T], limiter: anyio.CapacityLimiter) -> T:
        async with asyncio.timeout(self.settings.request_seconds):
            return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)


def gateway_of(request: Request) -> Gateway:
    """The gateway that answers a request."""
    return request.app.state.gateway


def _host(request: Request) -> str:
    return re.sub(r":\d*$", "", request.headers.get("host", "")).lower()


async def _known(gateway: Gateway, request: Request, address: str) -> Caller:
    """The caller by its token. An address that sends bad ones all the time has to wait: each is work."""
    gateway.strangers.check(address)
    try:
        return await gateway.authenticate(request.headers.get("authorization"))
    except Unauthenticated:
        gateway.strangers.count(address)
        raise


async def _caller(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> AsyncGenerator[Caller]:
    """The caller, counted until the last byte of the answer is sent."""
    gateway = gateway_of(request)
    address = request.client.host if request.client else ""
    if gateway.settings.loopback_only and _host(request) not in _LOOPBACK:
        raise HTTPException(421, "this gateway answers its own machine only, as http://localhost or http://127.0.0.1")
    caller = await _known(gateway, request, address) if gateway.providers else ANYONE
    with gateway.limits.admit(f"address {address}" if caller is ANYONE else f"principal {caller.principal}"):
        yield caller


GatewayOf = Annotated[Gateway, Depends(gateway_of)]
CallerOf = Annotated[Caller, Depends(_caller)]


def check_grant(caller: Caller, name: str, *actions: Action) -> str:
    """The endpoint's name as it is stored, where the caller may do any of the actions.

    Raises Forbidden for one who may not, whether there is such an endpoint or not; NotFound for what is no name.
    """
    if not any(caller.may(action, name) for action in actions):
        raise Forbidden(f"this caller may not {' or '.join(actions)} here")
    if not is_name(name):
        raise NotFound(_NO_ENDPOINT)
    return name.lower()


def published_endpoint(client: SyncPrefectClient, endpoint: str) -> DeploymentResponse:
    """The Prefect deployment that an endpoint is. Raises NotFound, which names no others: they may be hidden."""
    if (found := published(client, endpoint)) is None:
        raise NotFound(_NO_ENDPOINT)
    return found
