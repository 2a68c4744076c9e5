"""What principals may do, as the server has it, asked for once in a few seconds."""

from __future__ import annotations

from ..blocks import store
from ..blocks.grants import Grant
from ..blocks.principal import principal_or_nobody
from .recent import Recent


def _look_up(name: str) -> tuple[Grant, ...]:
    with store.api() as client:
        return principal_or_nobody(client, name).grants


_grants = Recent(_look_up)


def grants_of(*names: str) -> tuple[Grant, ...]:
    """The grants of a principal and of roles; those that nothing is kept of have none."""
    return tuple(grant for name in names for grant in _grants(name))
