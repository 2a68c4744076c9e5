"""`prefect-batch serve`."""

from __future__ import annotations

import copy
import ipaddress
import socket
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from ..blocks import store
from ..blocks.documents import validate
from ..scoring.errors import BatchError, InvalidDocument
from . import terminal
from .rest_settings import GatewaySettings

app = App(name="serve")
_ENVIRONMENT = "PREFECT_BATCH_SERVE_"
_LIMITS = GatewaySettings()


def _option(name: str, help: str) -> Parameter:
    """An option that the environment may give, too."""
    return Parameter(env_var=_ENVIRONMENT + name.upper(), help=help, show_env_var=False, negative=())


@app.default
def serve(
    *,
    host: Annotated[str, _option("host", "Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, _option("port", "To listen on; 0 for any free one.")] = 8080,
    auth: Annotated[Path | None, _option("auth", "YAML file that says whose tokens are taken.")] = None,
    api_keys: Annotated[
        bool, _option("api_keys", "Take the keys of `prefect-batch token create` and no other tokens, without --auth.")
    ] = False,
    certificate: Annotated[Path | None, _option("certificate", "PEM file: speak TLS with this certificate.")] = None,
    key: Annotated[Path | None, _option("key", "PEM file of its private key, unless it is in the same file.")] = None,
    insecure: Annotated[
        bool,
        _option(
            "insecure",
            "Listen beyond this machine without TLS or without authentication, as behind a proxy that has both.",
        ),
    ] = False,
    max_body: Annotated[int, _option("max_body", "Bytes of a request.")] = _LIMITS.body_bytes,
    rate: Annotated[
        float, _option("rate", "Requests of one principal a second; 0 for any number.")
    ] = _LIMITS.requests_per_second,
    concurrency: Annotated[
        int, _option("concurrency", "Requests of one principal at once; 0 for any number.")
    ] = _LIMITS.concurrent_requests,
    timeout: Annotated[float, _option("timeout", "Seconds in which a request is answered.")] = _LIMITS.request_seconds,
) -> None:
    """Serve the REST gateway: endpoints for callers who speak HTTP. Ends with Ctrl-C.

    Each option may come from the environment, as PREFECT_BATCH_SERVE_PORT.

    Example: prefect-batch serve --host 0.0.0.0 --auth auth.yml --certificate tls.crt --key tls.key
    """
    from .rest import create_app
    from .tokens import providers

    limits = {
        "body_bytes": max_body,
        "requests_per_second": rate,
        "concurrent_requests": concurrency,
        "request_seconds": timeout,
    }
    settings = validate(GatewaySettings, limits, "options")
    if api_keys and auth is not None:
        raise InvalidDocument("--api-keys goes without --auth: write api_keys: true in the file")
    _check_open(host, api_keys or auth is not None, certificate is not None, insecure)
    tls = _tls(certificate, key)
    known = providers(auth) if api_keys or auth is not None else []
    settings = settings.model_copy(update={"loopback_only": not known and not insecure})
    with store.api() as client:
        client.hello()
    _run(create_app(settings, known), _listen(host, port), host, tls)


def _check_open(host: str, authenticated: bool, encrypted: bool, insecure: bool) -> None:
    """Refuse to let others than this machine in, where whoever comes is let in or whoever listens can read."""
    if insecure or _is_loopback(host):
        return
    lacks = [
        what
        for what, has in (("--auth FILE or --api-keys", authenticated), ("--certificate FILE", encrypted))
        if not has
    ]
    if lacks:
        raise InvalidDocument(
            f"--host {host} lets other machines in: give {' and '.join(lacks)}, or --insecure if something in front "
            "of the gateway sees to it"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(certificate: Path | None, key: Path | None) -> dict[str, Any]:
    """What uvicorn is told of TLS. Raises InvalidDocument for files that cannot be used."""
    import ssl

    if certificate is None:
        if key is not None:
            raise InvalidDocument("--key goes with --certificate FILE")
        return {}
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")  # nosec B106 # or it would ask
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        named = f"--certificate {certificate}" + (f" and --key {key}" if key else "")
        reason = error.strerror if isinstance(error, FileNotFoundError) else "not a certificate and its key, in PEM"
        raise InvalidDocument(f"{named}: cannot be used: {reason}") from None
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key) if key else None}


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises InvalidDocument, BatchError."""
    if not 0 <= port < 1 << 16:  # getaddrinfo() would take the rest of it
        raise InvalidDocument(f"--port {port}: must be 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)  # whoever connects from now on is answered
    except OSError as error:
        raise BatchError(f"cannot listen on {host}:{port} ({error}): try another --host or --port") from None
    return listening


def _run(application: Any, listening: socket.socket, host: str, tls: dict[str, Any]) -> None:
    from uvicorn import Config, Server
    from uvicorn.config import LOGGING_CONFIG

    logging = copy.deepcopy(LOGGING_CONFIG)
    logging["handlers"]["access"]["stream"] = "ext://sys.stderr"
    config = Config(
        application,
        http="h11",  # bounds what a header may be
        log_config=logging,
        server_header=False,
        limit_concurrency=1000,
        timeout_graceful_shutdown=10,
        **tls,
    )
    shown = f"[{host}]" if ":" in host else host
    terminal.note(f"Listening on {'https' if tls else 'http'}://{shown}:{listening.getsockname()[1]}")
    Server(config).run(sockets=[listening])
