"""Callers who hold a JSON Web Token that an OpenID Connect issuer has signed.

The algorithm is one of those that the settings name, all of them asymmetric, and must be one that the issuer's key is
for: whatever else the token's header says decides nothing (RFC 8725).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import jwt
from pydantic import Field, field_validator, model_validator

from ..blocks.principal import ROLE, check_principal
from ..blocks.settings import Document
from ..scoring.errors import InvalidDocument, Unauthenticated
from .callers import Caller
from .jwks import IssuerKeys, check_location
from .principals import grants_of

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_MOST_ROLES = 100
_EXPLAINED: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.InvalidAudienceError: "the token is for another audience",
}


class OidcSettings(Document):
    """An issuer of tokens, and how its tokens name principals."""

    issuer: str = Field(min_length=1)
    audience: list[str] = Field(min_length=1)
    jwks_url: str | None = Field(default=None, description="By default what the issuer's discovery document says.")
    jwks_file: Path | None = None
    algorithms: list[Algorithm] = Field(default=["RS256", "ES256"], min_length=1)
    leeway: float = Field(default=30.0, ge=0, le=300, description="Seconds that clocks may be apart.")
    principal_claim: str = "sub"
    principal_prefix: str = ""
    roles_claim: str | None = None

    @field_validator("audience", mode="before")
    @classmethod
    def _one_audience(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _keys(self) -> OidcSettings:
        if self.jwks_url is not None and self.jwks_file is not None:
            raise ValueError("give one of jwks_url and jwks_file")
        if self.jwks_file is None:
            check_location(self.jwks_url or self.issuer)
        return self


class Oidc:
    """Knows callers by the tokens of one issuer.

    Args:
        settings: of the issuer.
        beside: the folder that a relative `jwks_file` means.
    """

    def __init__(self, settings: OidcSettings, beside: Path) -> None:
        self._settings = settings
        file = beside / settings.jwks_file if settings.jwks_file is not None else None
        self._keys = IssuerKeys(settings.issuer, settings.jwks_url, file)

    def authenticate(self, token: str) -> Caller | None:
        """See Provider."""
        if token.count(".") != 2 or self._says_another_issuer(token):
            return None
        try:
            claims = self._verified(token)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unauthenticated(_EXPLAINED.get(type(error), "the token is not valid")) from None
        principal = self._principal(claims)
        return Caller(principal, grants_of(principal, *self._roles(claims)))

    def _says_another_issuer(self, token: str) -> bool:
        try:
            said = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, ValueError, RecursionError):
            return True
        return said != self._settings.issuer

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims of a token that is valid. Raises PyJWTError, and for some garbage what Python does."""
        settings, header = self._settings, jwt.get_unverified_header(token)
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in settings.algorithms or "crit" in header:
            raise jwt.InvalidAlgorithmError
        key = self._keys.find(key_id if isinstance(key_id, str) else None, algorithm)
        if key is None:
            raise jwt.InvalidKeyError
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=settings.audience,
            issuer=settings.issuer,
            leeway=settings.leeway,
            options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
        )

    def _principal(self, claims: dict[str, Any]) -> str:
        named = claims.get(self._settings.principal_claim)
        try:
            principal = check_principal(self._settings.principal_prefix + named if isinstance(named, str) else "")
        except InvalidDocument:
            principal = ROLE
        if not named or principal.startswith(ROLE):
            raise Unauthenticated(f"the token names no principal: its claim {self._settings.principal_claim!r}")
        return principal

    def _roles(self, claims: dict[str, Any]) -> list[str]:
        claim = self._settings.roles_claim
        held: Any = claims.get(claim) if claim is not None else None
        named = cast("list[Any]", [held] if isinstance(held, str) else held if isinstance(held, list) else [])
        return [f"{ROLE}{role}" for role in named[:_MOST_ROLES] if isinstance(role, str) and role]
