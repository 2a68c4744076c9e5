"""API keys on a real server: shown once, worth nothing when they end, and never more than they were made for."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient

from prefect_batch.blocks import api_key
from prefect_batch.blocks.api_key import ApiKey, create_key, find_key, list_keys, parse_lifetime, revoke_key
from prefect_batch.blocks.grants import Grant
from prefect_batch.blocks.principal import Principal, create_principal
from prefect_batch.interfaces import tokens
from prefect_batch.interfaces.api_keys import ApiKeys
from prefect_batch.interfaces.callers import Caller
from prefect_batch.scoring.errors import InvalidDocument, NotFound, Unauthenticated

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def principal() -> str:
    return f"ci-{uuid4().hex[:8]}"


def test_a_key_names_its_principal_and_what_it_allows(client: SyncPrefectClient, principal: str):
    key, token = create_key(client, principal, ["invoke:heart", "READ:*".lower()], "30d")
    grants = (Grant("invoke", "heart"), Grant("read", "*"))
    assert tokens.authenticate(tokens.providers(), f"Bearer {token}") == Caller(principal, grants)
    assert [held.id for held in list_keys(client, principal)] == [key.id]
    assert timedelta(days=29) < key.expires_at - datetime.now(UTC) < timedelta(days=30)

    known, good = ApiKeys(), token[:-1] + ("A" if token[-1] != "A" else "B")
    for bad in (good, token + "x", token[:-1], api_key.PREFIX, f"pbk_{'0' * 16}_{'a' * 43}", f"pbk_{key.id}_", "pbk_é"):
        with pytest.raises(Unauthenticated, match="API key is not valid") as raised:
            known.authenticate(bad)
        assert token not in str(raised.value)
    assert known.authenticate(f"x{token}") is None  # of another kind


def test_a_key_without_grants_has_those_of_its_principal(client: SyncPrefectClient, principal: str):
    _, token = create_key(client, principal, [], "never")
    create_principal(client, Principal(name=principal, allow=["manage:heart"]))
    assert ApiKeys().authenticate(token) == Caller(principal, (Grant("manage", "heart"),))


def test_a_revoked_key_is_worthless_in_a_gateway_that_knows_it(
    client: SyncPrefectClient, principal: str, monkeypatch: pytest.MonkeyPatch
):
    key, token = create_key(client, principal, ["invoke:*"], "1h")
    now, known = [1000.0], ApiKeys()
    monkeypatch.setattr("prefect_batch.interfaces.recent.time.monotonic", lambda: now[0])
    assert known.authenticate(token) is not None
    revoke_key(client, key.id)
    now[0] += 6
    with pytest.raises(Unauthenticated):
        known.authenticate(token)
    with pytest.raises(NotFound):
        revoke_key(client, key.id)


def test_a_key_ends_though_the_gateway_knows_it(
    client: SyncPrefectClient, principal: str, monkeypatch: pytest.MonkeyPatch
):
    key, token = create_key(client, principal, ["invoke:*"], "2h")
    known = ApiKeys()
    assert known.authenticate(token) is not None
    monkeypatch.setattr(ApiKey, "has_expired", property(lambda held: held.expires_at <= key.expires_at))
    with pytest.raises(Unauthenticated):
        known.authenticate(token)
    assert not find_key(client, key.id).model_copy(update={"expires_at": None}).digest.startswith(token)


def test_lifetimes():
    assert parse_lifetime("90s") == timedelta(seconds=90)
    assert parse_lifetime("4w") == timedelta(weeks=4)
    assert parse_lifetime("never") is None
    for wrong in ("", "30", "d", "0d", "-1d", "1.5h", "30 d", "1y", "9999999999d", "999999999w", "٣d"):
        with pytest.raises(InvalidDocument, match="is no time"):
            parse_lifetime(wrong)
    assert ApiKey(
        id="1", principal="p", allow=[], digest="", created_at=datetime.now(UTC), expires_at=datetime.now(UTC)
    ).has_expired


def test_the_token_is_shown_once_and_kept_nowhere(client: SyncPrefectClient, principal: str, cli_here: Cli):
    cli = cli_here
    made = cli("token", "create", "--principal", principal, "--allow", "invoke:heart", "read:heart", "--expires", "30d")
    token = made.stdout.strip()
    assert re.fullmatch(r"pbk_[0-9a-f]{16}_[\w-]{43}", token)
    assert "shown this once" in made.stderr
    assert token not in made.stderr
    (listed,) = json.loads(cli("token", "list", "--principal", principal, "-o", "json").stdout)
    assert (listed["principal"], listed["allow"]) == (principal, ["invoke:heart", "read:heart"])
    kind = {"slug": {"any_": [ApiKey.get_block_type_slug()]}}
    stored = client._client.post("/block_documents/filter", json={"include_secrets": True, "block_types": kind}).text
    assert listed["id"] in stored
    for shown in (json.dumps(listed), stored):
        assert token.split("_", 2)[2] not in shown
    cli("token", "revoke", listed["id"], "--yes")
    assert "there is no API key" in cli("token", "revoke", listed["id"], "--yes", code=1).stderr


def test_principals_by_command(client: SyncPrefectClient, principal: str, cli_here: Cli, tmp_path: Path):
    cli = cli_here
    lake = f"{principal}-lake"
    cli("datastore", "create", lake, "--type", "s3", "--set", "bucket=b")
    cli("principal", "create", principal, "--allow", "invoke:heart", "--deny-datastore", lake)
    (tmp_path / "own.yml").write_text("access_key_id: AKIA\nsecret_access_key: planted-secret\n")
    set_ = ("principal", "set-credentials", principal, "--datastore", lake)
    assert "planted-secret" not in cli(*set_, "-f", tmp_path / "own.yml", "-o", "json").stdout
    shown = json.loads(cli("principal", "show", principal).stdout)
    assert shown == {
        "name": principal,
        "allow": ["invoke:heart"],
        "denied_datastores": [lake],
        "description": None,
        "credentials": [lake],
    }
    for arguments, says in [
        (("create", "x", "--allow", "invoke"), "is no grant"),
        (("create", "x", "--deny-datastore", "no-such-store"), "does not exist"),
        (("update", f"{principal}-x", "--allow", "invoke:a"), "does not exist"),
    ]:
        assert says in cli("principal", *arguments, code=1).stderr
    _, _ = create_key(client, principal, [], "1h")
    assert "revoke them first" in cli("principal", "delete", principal, "--yes", code=1).stderr
