"""`prefect-batch token`."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from ..blocks import api_key as keys
from ..blocks import store
from ..blocks.api_key import ApiKey
from . import terminal, views
from .cli_options import Yes, confirm

app = App(name="token")

KeyId = Annotated[str, Parameter(name=["--id", "--name", "-n"], help="As `token list` shows it.")]


@app.command(name="create")
def token_create(
    *,
    principal: Annotated[str, Parameter(name=["--principal", "-p"], help="Who calls with it.")],
    allow: Annotated[
        list[str],
        Parameter(
            help="Grants, as in invoke:heart; without any, what the principal may do.",
            negative=(),
            consume_multiple=True,
        ),
    ] = [],  # noqa: B006
    expires: Annotated[str, Parameter(help="After what time: 30d, 12h, 4w, or never.")] = "90d",
    description: str | None = None,
) -> None:
    """Make an API key and print it. It is not kept, and cannot be shown again.

    Example: prefect-batch token create --principal ci --allow invoke:heart read:heart --expires 30d
    """
    with store.api() as client:
        key, token = keys.create_key(client, principal, allow, expires, description)
    ends = f"expires {terminal.moment(key.expires_at)}" if key.expires_at is not None else "never expires"
    terminal.note(f"API key {key.id} of {key.principal} {ends}. Keep it now: it is shown this once.")
    terminal.result(token, _view(key) | {"token": token})


def _view(key: ApiKey) -> dict[str, Any]:
    return views.keys_of(key, {"digest"}) | {"expired": key.has_expired}


@app.command(name="list")
def token_list(*, principal: Annotated[str | None, Parameter(name=["--principal", "-p"])] = None) -> None:
    """List API keys: whose they are, what they allow and when they expire.

    Example: prefect-batch token list --principal ci
    """
    with store.api() as client:
        found = keys.list_keys(client, principal)
    rows = [
        (key.id, key.principal, " ".join(key.allow), terminal.moment(key.expires_at) or keys.NEVER, key.description)
        for key in found
    ]
    terminal.table(("ID", "PRINCIPAL", "ALLOW", "EXPIRES", "DESCRIPTION"), rows, [_view(key) for key in found])


@app.command(name="revoke")
def token_revoke(id: KeyId, *, yes: Yes = False) -> None:
    """Make an API key worthless; a running gateway refuses it within seconds.

    Example: prefect-batch token revoke 0123456789abcdef --yes
    """
    confirm(f"Revoke API key {id}?", yes)
    with store.api() as client:
        keys.revoke_key(client, id)
    terminal.result(id)
