"""Bearer tokens: who may have issued them, and whose they are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from ..blocks.documents import load_yaml, validate
from ..blocks.settings import Document
from ..scoring.errors import Unauthenticated
from .api_keys import ApiKeys
from .callers import Caller, Provider
from .oidc import Oidc, OidcSettings

_LONGEST = 16 * 1024
"""Characters of a token: more than any issuer writes."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class AuthSettings(Document):
    """Who may issue tokens."""

    oidc: Annotated[list[OidcSettings], BeforeValidator(_listed)] = Field(default_factory=list[OidcSettings])
    api_keys: bool = True

    @model_validator(mode="after")
    def _apart(self) -> AuthSettings:
        if not self.oidc and not self.api_keys:
            raise ValueError("nobody could call: write oidc, or api_keys: true")
        if len({one.issuer for one in self.oidc}) < len(self.oidc):
            raise ValueError("oidc: an issuer stands twice")
        prefixes = sorted(one.principal_prefix for one in self.oidc)
        if any(longer.startswith(shorter) for shorter, longer in itertools.pairwise(prefixes)):
            raise ValueError(
                "oidc: with several issuers give each a principal_prefix of its own that begins no other one, so that "
                "none names another's principals"
            )
        return self


def providers(path: Path | None = None) -> list[Provider]:
    """What tells callers by their tokens.

    Args:
        path: of a YAML file with `oidc` and `api_keys`; None for API keys only.

    Raises InvalidDocument.
    """
    settings = validate(AuthSettings, load_yaml(path), str(path)) if path is not None else AuthSettings()
    beside = path.parent if path is not None else Path()
    found: list[Provider] = [Oidc(one, beside) for one in settings.oidc]
    return [ApiKeys(), *found] if settings.api_keys else found


def authenticate(known: Sequence[Provider], header: str | None) -> Caller:
    """Whoever sends this `Authorization` header.

    Raises Unauthenticated for none, for another scheme, and for a token that is not valid; NoServer where that cannot
    be found out.
    """
    scheme, _, token = (header or "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("a token is needed: send the header `Authorization: Bearer TOKEN`")
    if len(token) > _LONGEST or not token.isascii():
        raise Unauthenticated("the token is not valid")
    for provider in known:
        if (caller := provider.authenticate(token)) is not None:
            return caller
    raise Unauthenticated("the token is of no issuer that is known here")
