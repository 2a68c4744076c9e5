"""Who calls the gateway, and how that is found out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..blocks.grants import Action, Grant, allowed
from ..blocks.principal import ANONYMOUS


@dataclass(frozen=True)
class Caller:
    """Somebody who has proved who they are, and what they may do."""

    principal: str
    grants: tuple[Grant, ...]

    def may(self, action: Action, endpoint: str) -> bool:
        """Whether a grant allows it; whether the endpoint exists is another matter."""
        return allowed(self.grants, action, endpoint)


ANYONE = Caller(ANONYMOUS, (Grant("invoke", "*"), Grant("read", "*"), Grant("manage", "*")))
"""Whoever calls a gateway without authentication."""


class Provider(Protocol):
    """Tells callers by their Bearer tokens."""

    def authenticate(self, token: str) -> Caller | None:
        """Who holds this token; None for a token of another provider's kind. Raises Unauthenticated for a bad one."""
        ...
