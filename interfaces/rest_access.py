"""Who calls, whether they may, and the Prefect server behind the gateway."""

from __future__ import annotations

import asyncio
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

from ..blocks import store
from ..blocks.grants import Action
from ..blocks.names import is_name
from ..scoring.errors import Forbidden, NotFound
from .callers import ANYONE, Caller, Provider
from .rest_limits import Limits
from .rest_settings import GatewaySettings
from .tokens import authenticate

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 8
"""More would only wait for each other within the Prefect server, whose database takes one write at a time."""
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
        self._threads = anyio.CapacityLimiter(_THREADS)
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
        call = partial(function, *args, **kwargs)
        async with asyncio.timeout(self.settings.request_seconds):
            return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._threads)


def gateway_of(request: Request) -> Gateway:
    """The gateway that answers a request."""
    return request.app.state.gateway


async def _caller(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> AsyncGenerator[Caller]:
    """The caller, counted until the last byte of the answer is sent."""
    gateway = gateway_of(request)
    header = request.headers.get("authorization")
    caller = await gateway.run(authenticate, gateway.providers, header) if gateway.providers else ANYONE
    address = request.client.host if request.client else ""
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
        raise NotFound("there is no endpoint of that name")
    return name.lower()
