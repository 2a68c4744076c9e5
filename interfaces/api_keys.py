"""Callers who hold an API key."""

from __future__ import annotations

from ..blocks import store
from ..blocks.api_key import PREFIX, ApiKey, find_key, key_id_of
from ..scoring.errors import NotFound, Unauthenticated
from .callers import Caller
from .principals import grants_of
from .recent import Recent

_INVALID = "the API key is not valid: it may have expired or been revoked"


class ApiKeys:
    """Knows callers by the keys that `prefect-batch token create` has made."""

    def __init__(self) -> None:
        self._keys = Recent[ApiKey | None](_find)

    def authenticate(self, token: str) -> Caller | None:
        """See Provider. A revoked key is known for a few seconds longer."""
        if not token.startswith(PREFIX):
            return None
        key_id = key_id_of(token)
        key = self._keys(key_id) if key_id is not None else None
        if key is None or not key.is_of(token) or key.has_expired:
            raise Unauthenticated(_INVALID)
        return Caller(key.principal, key.grants or grants_of(key.principal))


def _find(key_id: str) -> ApiKey | None:
    with store.api() as client:
        try:
            return find_key(client, key_id)
        except NotFound:
            return None
