"""Signed tokens: which are taken, and that no other is, whoever made it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from prefect_batch.blocks.grants import Grant
from prefect_batch.interfaces import jwks, oidc, tokens
from prefect_batch.interfaces.callers import Caller, Provider
from prefect_batch.scoring.errors import InvalidDocument, Unauthenticated

ISSUER, AUDIENCE = "https://issuer.example", "prefect-batch"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
GRANTS = {"ci": (Grant("invoke", "heart"),), "role:analysts": (Grant("read", "*"),)}


def public(key: Any, **about: Any) -> dict[str, Any]:
    kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm: Any = next((found for kind, found in kinds.items() if isinstance(key, kind)), OKPAlgorithm)
    return {**json.loads(algorithm.to_jwk(key.public_key())), **about}


def pem(key: Any) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    held = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ci", "iat": now, "nbf": now, "exp": now + 600} | changes
    return {key: value for key, value in held.items() if value is not None}


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "one", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid} if kid else {})


def encoded(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture(autouse=True)
def _grants(monkeypatch: pytest.MonkeyPatch) -> None:
    def grants_of(*names: str) -> tuple[Grant, ...]:
        return tuple(grant for name in names for grant in GRANTS.get(name, ()))

    monkeypatch.setattr(oidc, "grants_of", grants_of)


@pytest.fixture
def known(tmp_path: Path) -> Callable[..., list[Provider]]:
    """Providers as a file with these keys configures them."""

    def make(keys: list[dict[str, Any]] | None = None, **settings: Any) -> list[Provider]:
        held = keys or [public(RSA, kid="one"), public(EC, kid="ec"), public(ED, kid="ed")]
        (tmp_path / "keys.json").write_text(json.dumps({"keys": held}))
        about = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": "keys.json"} | settings
        (tmp_path / "auth.yml").write_text(json.dumps({"oidc": about, "api_keys": False}))
        return tokens.providers(tmp_path / "auth.yml")

    return make


def caller(providers: list[Provider], text: str) -> Caller:
    return tokens.authenticate(providers, f"Bearer {text}")


def test_a_valid_token_names_its_principal(known: Callable[..., list[Provider]]):
    providers = known(algorithms=["RS256", "PS256", "ES256", "EdDSA"], roles_claim="roles")
    assert caller(providers, token()) == Caller("ci", GRANTS["ci"])
    assert caller(providers, token(algorithm="PS256")).principal == "ci"
    assert caller(providers, token(EC, "ES256", "ec")).principal == "ci"
    assert caller(providers, token(ED, "EdDSA", "ed")).principal == "ci"
    assert caller(providers, token(aud=["other", AUDIENCE])).principal == "ci"
    assert caller(providers, token(sub="ann", roles=["analysts", 7, ""])) == Caller("ann", GRANTS["role:analysts"])
    assert caller(providers, token(sub="nobody")) == Caller("nobody", ())
    assert tokens.authenticate(providers, f"bearer   {token()} ").principal == "ci"
    assert caller(providers, token(exp=int(time.time()) - 5)).principal == "ci"  # clocks differ a little


def test_the_principal_may_stand_in_another_claim(known: Callable[..., list[Provider]]):
    providers = known(principal_claim="oid", principal_prefix="entra:")
    assert caller(providers, token(oid="7")).principal == "entra:7"
    for named in (None, "", 7, ["ci"], {"a": 1}, "a\nb", "x" * 300):
        with pytest.raises(Unauthenticated, match="names no principal"):
            caller(providers, token(oid=named))


def test_nobody_is_a_role(known: Callable[..., list[Provider]]):
    with pytest.raises(Unauthenticated, match="names no principal"):
        caller(known(), token(sub="role:analysts"))


def unsigned(algorithm: str) -> str:
    return f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': 'one'})}.{encoded(claims())}."


def confused(algorithm: str = "HS256") -> str:
    """Signed with the public key as if it were a shared secret."""
    import hashlib
    import hmac

    said = f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': 'one'})}.{encoded(claims())}"
    return f"{said}.{encoded(hmac.new(pem(RSA), said.encode(), hashlib.sha256).digest())}"


def changed(**changes: Any) -> str:
    """A valid token in which something else is claimed."""
    head, _, signature = token().split(".")
    return f"{head}.{encoded(claims(**changes))}.{signature}"


def with_header(**header: Any) -> str:
    return jwt.encode(claims(), OTHER, "RS256", headers={"kid": "one", **header})


NOW = int(time.time())
BAD = {
    "forged": token(OTHER),
    "forged, without a key id": token(OTHER, kid=None),
    "its own key": with_header(jwk=public(OTHER)),
    "its own address of keys": with_header(jku="https://attacker.example/keys", x5u="https://attacker.example"),
    "another claim": changed(sub="admin"),
    "expired": token(exp=NOW - 3600),
    "without an end": token(exp=None),
    "not yet valid": token(nbf=NOW + 3600),
    "issued in future": token(iat=NOW + 3600),
    "wrong audience": token(aud="another"),
    "audiences without ours": token(aud=["another", "prefect"]),
    "without an audience": token(aud=None),
    "wrong issuer": token(iss="https://another.example"),
    "issuer with a slash": token(iss=f"{ISSUER}/"),
    "without an issuer": token(iss=None),
    "none": unsigned("none"),
    "None": unsigned("None"),
    "no algorithm": unsigned(""),
    "key confusion": confused(),
    "key confusion, called RS256": confused("RS256"),
    "algorithm that is not allowed": token(algorithm="RS512"),
    "algorithm of another key": token(EC, "ES256", "one"),
    "unknown key": token(kid="another"),
    "key id that is a path": token(kid="../../one"),
    "critical header": jwt.encode(claims(), RSA, "RS256", headers={"kid": "one", "crit": ["b64"], "b64": True}),
    "huge": token(padding="x" * 20_000),
    "not ASCII": "ä.ö.ü",
    "garbage": "garbage",
    "dots": "..",
    "garbage in three parts": "a.b.c",
    "no JSON": f"{encoded(b'x')}.{encoded(b'y')}.{encoded(b'z')}",
    "lists": f"{encoded([])}.{encoded([])}.{encoded(b'z')}",
    "deep": f"{encoded({'alg': 'RS256'})}.{encoded(b'[' * 5000)}.{encoded(b'z')}",
    "header that is deep": f"{encoded(b'[' * 5000)}.{encoded(claims())}.{encoded(b'z')}",
    "key id that is a list": f"{encoded({'alg': 'RS256', 'kid': ['one']})}.{encoded(claims())}.{encoded(b'z')}",
    "algorithm that is a list": f"{encoded({'alg': ['RS256'], 'kid': 'one'})}.{encoded(claims())}.{encoded(b'z')}",
    "signature cut off": token().rpartition(".")[0] + ".",
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_token_is_not_taken(known: Callable[..., list[Provider]], what: str):
    providers = known()
    assert caller(providers, token()).principal == "ci"  # a good one is
    with pytest.raises(Unauthenticated) as raised:
        caller(providers, BAD[what])
    assert BAD[what] not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic Y2k6Y2k=", "Token x", token()])
def test_another_header_is_none(known: Callable[..., list[Provider]], header: str | None):
    with pytest.raises(Unauthenticated, match="a token is needed"):
        tokens.authenticate(known(), header)


def test_a_short_key_is_not_taken(known: Callable[..., list[Provider]]):
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(Unauthenticated):
        caller(known([public(weak, kid="weak")]), token(weak, kid="weak"))


def test_a_key_is_taken_only_for_what_it_is_for(known: Callable[..., list[Provider]]):
    for about in ({"use": "enc"}, {"alg": "PS256"}):
        with pytest.raises(Unauthenticated):
            caller(known([public(RSA, kid="one", **about)]), token())
    assert caller(known([public(RSA, kid="one", use="sig", alg="RS256")]), token()).principal == "ci"


def test_without_a_key_id_there_must_be_one_key(known: Callable[..., list[Provider]]):
    assert caller(known(), token(kid=None)).principal == "ci"  # the only one for RS256
    with pytest.raises(Unauthenticated):
        caller(known([public(RSA, kid="one"), public(OTHER, kid="two")]), token(kid=None))


class Issuer:
    """An issuer's keys, and how often they were fetched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys = [public(RSA, kid="one")]
        self.fetched: list[str] = []
        self.now, self.is_down = 1000.0, False
        monkeypatch.setattr(jwks, "_get", self._get)
        monkeypatch.setattr(jwks.time, "monotonic", lambda: self.now)

    def _get(self, url: str) -> dict[str, Any]:
        self.fetched.append(url)
        if self.is_down:
            raise jwks.httpx.ConnectError("down")
        if url.endswith("openid-configuration"):
            return {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        return {"keys": self.keys}


def settings(**changes: Any) -> list[Provider]:
    given = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": f"{ISSUER}/keys"} | changes
    about = {key: value for key, value in given.items() if value is not None}
    return [oidc.Oidc(oidc.OidcSettings.model_validate(about), Path())]


def test_keys_that_change_are_fetched_again_but_not_for_each_token(monkeypatch: pytest.MonkeyPatch):
    issuer = Issuer(monkeypatch)
    providers = settings()
    for _ in range(5):
        assert caller(providers, token()).principal == "ci"
    assert issuer.fetched == [f"{ISSUER}/keys"]

    issuer.keys = [public(OTHER, kid="two")]
    issuer.now += 31
    assert caller(providers, token(OTHER, kid="two")).principal == "ci"
    assert len(issuer.fetched) == 2
    for _ in range(50):
        with pytest.raises(Unauthenticated):
            caller(providers, token(kid="made up"))
    assert len(issuer.fetched) == 2
    with pytest.raises(Unauthenticated):
        caller(providers, token())  # withdrawn


def test_withdrawn_keys_are_forgotten_in_an_hour(monkeypatch: pytest.MonkeyPatch):
    issuer = Issuer(monkeypatch)
    providers = settings()
    assert caller(providers, token()).principal == "ci"
    issuer.keys = [public(OTHER, kid="two")]
    issuer.now += 3601
    with pytest.raises(Unauthenticated):
        caller(providers, token())


def test_an_issuer_that_is_down_does_not_lock_out_who_was_known(monkeypatch: pytest.MonkeyPatch):
    issuer = Issuer(monkeypatch)
    issuer.is_down = True
    providers = settings()
    with pytest.raises(Unauthenticated, match="cannot be checked now"):
        caller(providers, token())
    issuer.is_down = False
    issuer.now += 31
    assert caller(providers, token()).principal == "ci"
    issuer.is_down = True
    issuer.now += 3601
    assert caller(providers, token()).principal == "ci"


def test_the_discovery_document_says_where_the_keys_are(monkeypatch: pytest.MonkeyPatch):
    issuer = Issuer(monkeypatch)
    assert caller(settings(jwks_url=None), token()).principal == "ci"
    assert issuer.fetched == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]


@pytest.mark.parametrize(
    ("auth", "says"),
    [
        ({"oidc": {"issuer": ISSUER}}, "audience is missing"),
        ({"oidc": {"issuer": ISSUER, "audience": []}}, "audience"),
        ({"oidc": {"issuer": "http://issuer.example", "audience": "a"}}, "https://"),
        ({"oidc": {"issuer": ISSUER, "audience": "a", "jwks_url": "http://x.example/keys"}}, "https://"),
        ({"oidc": {"issuer": ISSUER, "audience": "a", "jwks_url": "file:///etc/keys"}}, "https://"),
        ({"oidc": {"issuer": ISSUER, "audience": "a", "algorithms": ["HS256"]}}, "algorithms"),
        ({"oidc": {"issuer": ISSUER, "audience": "a", "algorithms": ["none"]}}, "algorithms"),
        ({"oidc": {"issuer": ISSUER, "audience": "a", "algorithms": []}}, "algorithms"),
        ({"oidc": {"issuer": ISSUER, "audience": "a", "jwks_file": "missing.json"}}, "cannot be read"),
        ({"oidc": {"issuer": ISSUER, "audience": "a", "secret": "x"}}, "not a known key"),
        ({"oidc": [{"issuer": ISSUER, "audience": "a"}, {"issuer": f"{ISSUER}/b", "audience": "a"}]}, "prefix"),
        (
            {
                "oidc": [
                    {"issuer": f"{ISSUER}/{name}", "audience": "a", "principal_prefix": prefix}
                    for name, prefix in (("a", "a:"), ("b", "a:b:"))
                ]
            },
            "begins no other",
        ),
        ({"oidc": [{"issuer": ISSUER, "audience": "a"}] * 2}, "stands twice"),
        ({"api_keys": False}, "nobody could call"),
    ],
)
def test_settings_that_would_let_in_the_wrong_ones_are_refused(tmp_path: Path, auth: dict[str, Any], says: str):
    (tmp_path / "auth.yml").write_text(json.dumps(auth))
    with pytest.raises(InvalidDocument, match=says) as raised:
        tokens.providers(tmp_path / "auth.yml")
    assert "\n" not in str(raised.value)
