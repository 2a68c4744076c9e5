"""API keys: long-lived tokens for those who have no issuer of their own. Of a key only a hash is kept.

A key is 256 random bits, which nobody can guess: one round of SHA-256 protects it as well as a slow hash would.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from pydantic import Field

from ..scoring.errors import InvalidDocument, NotFound
from . import store
from .grants import Grant
from .names import document_name
from .principal import ROLE, check_principal

PREFIX = "pbk_"
_KEY = re.compile(r"pbk_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
NEVER = "never"


class ApiKey(Block):
    """What is kept of an API key."""

    _block_type_name = "Batch API Key"
    _block_type_slug = "batch-api-key"

    id: str
    principal: str
    allow: list[str] = Field(description="Grants, as in invoke:heart; those of the principal where there are none.")
    digest: str
    created_at: datetime
    expires_at: datetime | None = None
    description: str | None = None

    @property
    def grants(self) -> tuple[Grant, ...]:
        return tuple(map(Grant.parse, self.allow))

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and datetime.now(UTC) >= self.expires_at

    def is_of(self, token: str) -> bool:
        """Whether this is the whole token, not only its id."""
        return hmac.compare_digest(self.digest, _digest(token))


def create_key(
    client: SyncPrefectClient, principal: str, allow: list[str], expires: str, description: str | None = None
) -> tuple[ApiKey, str]:
    """Make a key; returns what is kept of it, and the token, which nobody can find out again.

    Args:
        client: of the Prefect server.
        principal: whose it is; nothing else need be known of that one.
        allow: grants, such as `invoke:heart`; none for those of the principal.
        expires: after what time, such as `30d`, or `never`.
        description: of what it is for.

    Raises InvalidDocument.
    """
    if principal.startswith(ROLE):
        raise InvalidDocument(f"{principal} is a role: make the key for a principal")
    key_id = secrets.token_hex(8)
    token = f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
    now = datetime.now(UTC)
    lifetime = parse_lifetime(expires)
    key = ApiKey(
        id=key_id,
        principal=check_principal(principal),
        allow=[str(Grant.parse(text)) for text in allow],
        digest=_digest(token),
        created_at=now,
        expires_at=now + lifetime if lifetime is not None else None,
        description=description,
    )
    store.create(key, _document(key_id), client)
    return key, token


def parse_lifetime(text: str) -> timedelta | None:
    """`30d`, `12h`, `4w`; None for `never`. Raises InvalidDocument."""
    if text == NEVER:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhdw])", text)
    if match is None or (seconds := int(match[1]) * _UNITS[match[2]]) > 100 * 365 * 86400:
        raise InvalidDocument(f"{text!r} is no time: write a number with s, m, h, d or w, as in 30d, or {NEVER}")
    return timedelta(seconds=seconds)


def key_id_of(token: str) -> str | None:
    """The id in a token of this kind; None for what is none."""
    match = _KEY.fullmatch(token)
    return match[1] if match else None


def find_key(client: SyncPrefectClient, key_id: str) -> ApiKey:
    """What is kept of a key. Raises NotFound."""
    try:
        return store.load(ApiKey, _document(key_id), client)
    except NotFound:
        raise NotFound(f"there is no API key {key_id!r}: see `prefect-batch token list`") from None


def list_keys(client: SyncPrefectClient, principal: str | None = None) -> list[ApiKey]:
    """All keys, or a principal's, the oldest first."""
    only = {"principal": principal} if principal is not None else {}
    return sorted(store.list_all(ApiKey, client, **only), key=lambda key: key.created_at)


def revoke_key(client: SyncPrefectClient, key_id: str) -> None:
    """Make a key worthless. Raises NotFound."""
    store.delete(ApiKey, _document(find_key(client, key_id).id), client)


def _document(key_id: str) -> str:
    return document_name("key", key_id)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
