"""The storage servers and the proxy that other tests build on: they keep what they are given, and faults do happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from proxy import Proxy

NAMES = ["plain.txt", "two words.txt", "a#b.txt", "50%.txt", "a%20b.txt", "[0].txt", "größe-数.txt", "a+b.txt"]
NESTED = ["one/same.txt", "two/same.txt", "one/deep er/same.txt"]
DATA = b"x" * 1000


@pytest.fixture(params=["s3", "azure_blobs"])
def store(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def page(http_files: Any, proxied: Callable[..., Proxy]) -> Callable[..., tuple[Proxy, Callable[[], httpx.Response]]]:
    """A proxy with faults, and what reads a file of 1,000 bytes through it, always on the same connection."""
    (http_files.folder / "x").write_bytes(DATA)
    client = httpx.Client()

    def make(**faults: Any) -> tuple[Proxy, Callable[[], httpx.Response]]:
        proxy = proxied(http_files.endpoint_url, **faults)
        return proxy, lambda: client.get(f"{http_files.through(proxy.url).url}/x")

    return make


def test_what_is_written_is_listed_and_read(store: Any) -> None:
    # In a folder: adlfs takes a bracket in the first part of a name for an IPv6 address.
    names = [f"names/{name}" for name in NAMES + NESTED]
    for name in names:
        store.fs.pipe_file(f"{store.url}/{name}", name.encode())
    found = store.fs.find(store.url)
    assert sorted(path.split("/", 1)[1] for path in found) == sorted(names)
    for name in names:
        assert store.fs.cat_file(f"{store.url}/{name}") == name.encode()


def test_no_two_tests_share_a_place(store: Any) -> None:
    assert store.fs.find(store.url) == []


def test_the_web_server_shows_folders_and_their_files(http_files: Any) -> None:
    for name in NESTED:
        (http_files.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (http_files.folder / name).write_text(name)
    found = http_files.fs.find(http_files.url + "/")
    assert len(found) == len(NESTED)
    assert {http_files.fs.cat_file(url).decode() for url in found} == set(NESTED)


def test_many_requests_at_once_through_the_proxy(store: Any, proxied: Callable[..., Proxy]) -> None:
    proxy = proxied(store.endpoint_url)
    fs = store.through(proxy.url).fs
    names = [f"names/{name}" for name in NAMES] * 5
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda name: fs.pipe_file(f"{store.url}/{name}", name.encode()), names))
        read = list(threads.map(lambda name: fs.cat_file(f"{store.url}/{name}"), names))
    assert read == [name.encode() for name in names]
    assert len(fs.find(store.url)) == len(NAMES)
    assert proxy.requests["GET"] > len(names)
    assert not proxy.faults


def test_large_bodies_through_the_proxy(store: Any, proxied: Callable[..., Proxy]) -> None:
    fs = store.through(proxied(store.endpoint_url).url).fs
    data = bytes(range(256)) * (12 * 4096)
    with fs.open(f"{store.url}/large", "wb", block_size=5 * 2**20) as stream:
        stream.write(data)
    assert fs.cat_file(f"{store.url}/large") == data
    assert fs.cat_file(f"{store.url}/large", start=1000, end=1010) == data[1000:1010]


def test_writes_are_refused_until_they_are_not(store: Any, proxied: Callable[..., Proxy]) -> None:
    store.fs.pipe_file(f"{store.url}/x", DATA)
    proxy = proxied(store.endpoint_url, refuse_writes=True)
    fs = store.through(proxy.url).fs
    assert fs.cat_file(f"{store.url}/x") == DATA
    with pytest.raises(Exception, match=r"denied|Forbidden|403|AuthorizationPermissionMismatch|A planned fault"):
        fs.pipe_file(f"{store.url}/y", b"y")
    assert proxy.faults["refused"] >= 1
    proxy.refuse_writes = False
    fs.pipe_file(f"{store.url}/y", b"y")
    assert fs.cat_file(f"{store.url}/y") == b"y"


def test_the_storage_client_retries_what_failed(s3: Any, proxied: Callable[..., Proxy]) -> None:
    s3.fs.pipe_file(f"{s3.url}/x", DATA)
    proxy = proxied(s3.endpoint_url, fail_every=2)
    fs = s3.through(proxy.url).fs
    assert [fs.cat_file(f"{s3.url}/x") for _ in range(3)] == [DATA] * 3
    assert proxy.faults["failed"] >= 2


def test_latency(page: Any) -> None:
    _, read = page(latency=0.2)
    start = time.monotonic()
    assert read().content == DATA
    assert time.monotonic() - start >= 0.2


def test_every_nth_request_fails(page: Any) -> None:
    proxy, read = page(fail_every=3)
    assert [read().status_code for _ in range(9)] == [200, 200, 503] * 3
    assert proxy.faults == {"failed": 3}
    assert proxy.requests == {"GET": 9}


def test_connections_are_reset(page: Any) -> None:
    proxy, read = page(reset_every=2)
    assert read().content == DATA
    with pytest.raises(httpx.TransportError):
        read()
    assert read().content == DATA
    assert proxy.faults == {"reset": 1}


def test_bodies_are_cut_short_of_the_length_they_promise(page: Any) -> None:
    proxy, read = page(cut_every=2)
    assert read().content == DATA
    with pytest.raises(httpx.RemoteProtocolError):
        read()
    assert read().content == DATA
    assert proxy.faults == {"cut": 1}


def test_files_are_shortened(page: Any) -> None:
    proxy, read = page(shorten_every=2)
    assert [len(read().content) for _ in range(3)] == [1000, 500, 1000]
    assert proxy.faults == {"shortened": 1}


def test_only_what_matches_meets_a_fault(page: Any) -> None:
    _, read = page(fail_every=1, match=lambda method, path: path.endswith("/y"))
    assert read().content == DATA
