"""The public keys of an issuer, which changes them from time to time."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import jwt

from ..scoring.errors import InvalidDocument, Unauthenticated

_FRESH_SECONDS = 3600.0
"""After so long the keys are fetched again: a key that the issuer has withdrawn is then known no more."""
_PAUSE_SECONDS = 30.0
"""Between two fetches at least: tokens with made-up keys must not make us ask the issuer each time."""
_TIMEOUT = 10.0
_LARGEST = 1024 * 1024
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

logger = logging.getLogger(__name__)


def check_location(url: str) -> None:
    """Refuse an address that keys cannot safely be fetched from. Raises ValueError."""
    parts = urlsplit(url)
    if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
        raise ValueError(f"{url!r} must be a URL with https://, so that nobody can exchange the issuer's keys")


class IssuerKeys:
    """An issuer's JSON Web Key Set, fetched when it is first needed and when a key is asked for that is not in it.

    Args:
        issuer: whose discovery document names the set where neither `url` nor `file` is given.
        url: of the set.
        file: with the set; read again as a URL is.
    """

    def __init__(self, issuer: str, url: str | None, file: Path | None) -> None:
        self._issuer, self._url, self._file = issuer, url, file
        self._keys: list[Mapping[str, Any]] = []
        self._fetched = self._tried = float("-inf")
        self._lock = threading.Lock()
        if file is not None:
            self._keys, self._fetched = _keys_in(_read(file), str(file)), time.monotonic()

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The key of that id that is for that algorithm; without an id the only one that is.

        Raises Unauthenticated where the keys cannot be fetched, PyJWTError for a key that is broken.
        """
        if time.monotonic() - self._fetched > _FRESH_SECONDS:
            self._refresh()
        key = self._held(key_id, algorithm)
        if key is None:
            self._refresh()
            key = self._held(key_id, algorithm)
        if key is None and not self._keys:
            raise Unauthenticated("the token cannot be checked now: its issuer's keys are not known")
        return key

    def _held(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [key for key in self._keys if _is_for(key, algorithm) and key_id in (None, key.get("kid"))]
        return jwt.PyJWK(dict(fitting[0]), algorithm) if len(fitting) == 1 else None

    def _refresh(self) -> None:
        """Fetch the keys, unless that was just tried. What cannot be fetched leaves those that are known."""
        with self._lock:
            if time.monotonic() - self._tried < _PAUSE_SECONDS:
                return
            self._tried = time.monotonic()
            try:
                self._keys = self._fetch()
            except (InvalidDocument, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                logger.warning("The keys of %s cannot be fetched: %s", self._issuer, error)
                if time.monotonic() - self._fetched > 24 * _FRESH_SECONDS:
                    self._keys = []
                return
            self._fetched = time.monotonic()

    def _fetch(self) -> list[Mapping[str, Any]]:
        if self._file is not None:
            return _keys_in(_read(self._file), str(self._file))
        if self._url is None:
            document = _get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if document.get("issuer") != self._issuer:
                raise InvalidDocument(f"the discovery document is of issuer {document.get('issuer')!r}")
            url = str(document.get("jwks_uri"))
            check_location(url)
            return _keys_in(_get(url), url)
        return _keys_in(_get(self._url), self._url)


def _is_for(key: Mapping[str, Any], algorithm: str) -> bool:
    """Whether a key may verify signatures of that algorithm."""
    return (
        key.get("kty") == _TYPES[algorithm[:2]]
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and _CURVES.get(algorithm) in (None, key.get("crv"))
    )


def _get(url: str) -> dict[str, Any]:
    # Redirects are not followed: the address was checked, and where it leads to was not.
    with httpx.stream("GET", url, timeout=_TIMEOUT) as response:
        response.raise_for_status()
        body = b""
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _LARGEST:
                raise InvalidDocument(f"{url} sends more than {_LARGEST} bytes")
    return _mapping(body, url)


def _read(file: Path) -> dict[str, Any]:
    try:
        return _mapping(file.read_bytes(), str(file))
    except OSError as error:
        raise InvalidDocument(f"jwks_file: {file} cannot be read: {error.strerror}") from None


def _mapping(data: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InvalidDocument(f"{where} is no JSON object")
    return cast("dict[str, Any]", document)


def _keys_in(document: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    keys: Any = document.get("keys")
    listed = cast("list[Any]", keys) if isinstance(keys, list) else []
    found = [cast("Mapping[str, Any]", key) for key in listed if isinstance(key, dict)]
    if not found:
        raise InvalidDocument(f"{where} holds no keys: it must be a JSON Web Key Set")
    return found
