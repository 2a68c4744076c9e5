"""`prefect-batch serve` as its users start it."""

from __future__ import annotations

import datetime
import ipaddress
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from prefect_batch.interfaces import cli_serve

BIN = Path(sys.executable).parent
Cli = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def served(*options: str | Path, **environment: str) -> Generator[str]:
    """The URL of a gateway that runs on any free port."""
    command = [str(BIN / "prefect-batch"), "serve", "--port", "0", *map(str, options)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert line.startswith("Listening on http"), line + process.stderr.read()
            yield line.removeprefix("Listening on ").strip()
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
        assert process.wait(30) in (0, 130) and "Traceback" not in rest, rest


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for this machine that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "tls.crt", tmp_path / "tls.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return paths


@pytest.mark.usefixtures("server")
def test_on_this_machine():
    with served(PREFECT_BATCH_SERVE_RATE="0.01") as url:
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}
        answers = [httpx.get(f"{url}/endpoints") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert "server" not in answers[0].headers


@pytest.mark.usefixtures("server")
def test_with_keys_and_tls(cli: Cli, certificate: tuple[Path, Path]):
    made = cli("token", "create", "--principal", "serve-test", "--allow", "read:*").stdout
    token = next(word for word in made.split() if len(word) > 30)
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    paths = ("--certificate", certificate[0], "--key", certificate[1])
    with served("--host", "0.0.0.0", "--api-keys", *paths) as url, httpx.Client(verify=trust) as http:
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert url.startswith("https://")
        assert http.get(f"{url}/endpoints").status_code == 401
        assert http.get(f"{url}/endpoints", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert token not in cli("token", "list").stdout
        with pytest.raises(httpx.TransportError):
            httpx.get(url.replace("https", "http"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], "--auth FILE or --api-keys and --certificate FILE, or --insecure"),
        (["--host", "0.0.0.0", "--api-keys"], "give --certificate FILE, or --insecure"),
        (["--host", "::", "--certificate", "tls.crt"], "give --auth FILE or --api-keys, or --insecure"),
        (["--host", "192.0.2.1", "--insecure"], "cannot listen on 192.0.2.1"),
        (["--certificate", "nowhere.crt"], "nowhere.crt: cannot be used: No such file"),
        (["--certificate", "pyproject.toml"], "not a certificate and its key, in PEM"),
        (["--key", "tls.key"], "--key goes with --certificate"),
        (["--auth", "nowhere.yml"], "nowhere.yml: no such file"),
        (["--auth", "nowhere.yml", "--api-keys"], "--api-keys goes without --auth"),
        (["--timeout", "0"], "greater than 0"),
        (["--port", "123456"], "--port 123456: must be 0 to 65535"),
    ],
)
@pytest.mark.usefixtures("server")
def test_what_it_refuses_to_start_with(cli_here: Cli, options: list[str], says: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cli_serve, "_run", lambda *_: pytest.fail("it started"))
    done = cli_here("serve", *options, code=1, cwd=Path(__file__).parents[2])
    assert says in done.stderr and len(done.stderr.splitlines()) == 1
