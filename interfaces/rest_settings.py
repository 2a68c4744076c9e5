"""How the gateway is set up, apart from who may call it."""

from __future__ import annotations

from pydantic import Field

from ..blocks.settings import Document


class GatewaySettings(Document):
    """Limits of the gateway, each for one principal where that can be told, else for one address."""

    body_bytes: int = Field(default=1_000_000, ge=1)
    """Of a request; calls point to data and do not carry it."""
    requests_per_second: float = Field(default=20, ge=0)
    """On average; twice as many may come at once. 0 for any number."""
    concurrent_requests: int = Field(default=16, ge=0)
    """At the same time. 0 for any number."""
    loopback_only: bool = False
    """Answer only those who call it by a name of this machine: without authentication a page in a browser here could
    ask, too, by a name of its site that is made to mean 127.0.0.1."""
    request_seconds: float = Field(default=60, gt=0)
    """Until a request has been answered, or its answer has begun."""
