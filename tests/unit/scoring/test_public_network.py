"""Which addresses are public, and that no other is connected to, whatever a name means and wherever a server leads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from prefect_batch.scoring import public_network, storage_http
from prefect_batch.scoring.errors import Forbidden, StorageFailed
from prefect_batch.scoring.public_network import PUBLIC_ONLY, check_public, is_public
from prefect_batch.scoring.storage import Folder

PRIVATE_4 = """
127.0.0.1 127.8.9.10 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 100.127.255.255
192.0.0.1 192.0.0.8 192.0.2.1 198.18.0.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
"""
PRIVATE_6 = """
:: ::1 fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 fec0::1 ff02::1 ff0e::1 2001:db8::1
::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b:1::7f00:1 5f00::1
::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 2002:7f00:1::
"""
PUBLIC = """
1.1.1.1 8.8.8.8 93.184.216.34 172.32.0.1 100.128.0.1 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::
"""
LOOPBACK = "127.0.0.1 localhost [::1] [::ffff:127.0.0.1] 2130706433 0x7f.1 127.1 0 0177.0.0.1"


def test_addresses():
    assert [address for address in (PRIVATE_4 + PRIVATE_6).split() if is_public(address)] == []
    assert [address for address in PUBLIC.split() if not is_public(address)] == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0", "0177.0.0.1"],
)
def test_spellings_of_loopback(host: str):
    with pytest.raises(Forbidden, match="private network"):
        check_public(f"http://{host}:8080/data/")


def test_a_host_that_is_not_known_here_is_left_to_who_fetches():
    check_public("http://no-such-host.invalid/data/")
    check_public("http://[broken/")


class Server:
    """Serves a file, and leads elsewhere from /away."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.send_response(302 if self.path.startswith("/away") else 200)
                if self.path.startswith("/away"):
                    self.send_header("Location", f"http://127.0.0.2:{outer.port}/secret.csv")
                self.send_header("Content-Length", "3")
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(b"1,2")

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_a_guarded_client_does_not_connect(server: Server, host: str):
    folder = Folder(f"http://{host}:{server.port}/data", PUBLIC_ONLY)
    for read in (lambda: folder.read("a.csv"), lambda: folder.stat("a.csv"), lambda: list(folder.walk())):
        with pytest.raises(Forbidden, match="private network"):
            read()
    assert server.asked == []


def test_nor_fetches(server: Server, tmp_path: Any):
    (error,) = Folder(f"http://127.0.0.1:{server.port}/data", PUBLIC_ONLY).fetch(["a.csv"], [tmp_path / "a.csv"])
    assert isinstance(error, Forbidden)
    assert server.asked == []


def test_a_redirect_is_not_followed_into_a_private_network(server: Server, monkeypatch: pytest.MonkeyPatch):
    """127.0.0.1 stands for a public server here, which leads to 127.0.0.2."""
    monkeypatch.setattr(public_network, "is_public", lambda address: address == "127.0.0.1")
    folder = Folder(f"http://127.0.0.1:{server.port}", PUBLIC_ONLY)
    assert folder.read("a.csv") == b"1,2"
    server.asked.clear()
    with pytest.raises(Forbidden, match=r"127\.0\.0\.2"):
        folder.read("away")
    assert set(server.asked) == {"/away"}


def test_a_name_that_means_another_address_by_now_is_not_connected_to(server: Server, monkeypatch: pytest.MonkeyPatch):
    """DNS rebinding: public when the call was checked, private when its data is fetched."""
    real = socket.getaddrinfo
    answers = ["93.184.216.34"]

    def rebinding(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != "rebinding.example":
            return real(host, port, *arguments, **options)
        answer = answers.pop() if answers else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = f"http://rebinding.example:{server.port}/data"
    check_public(url)
    with pytest.raises(Forbidden, match="private network"):
        Folder(url, PUBLIC_ONLY).read("a.csv")
    assert server.asked == []


def test_an_index_page_without_an_end_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch):
    folder = Folder(f"http://127.0.0.1:{server.port}/data/")
    assert folder.names() == []  # what is served links to nothing
    monkeypatch.setattr(storage_http, "_LARGEST_PAGE", 2)
    with pytest.raises(StorageFailed, match="larger than 2 bytes"):
        folder.names()
