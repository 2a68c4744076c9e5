"""An HTTP proxy in front of a storage server that adds latency and faults.

The client is given the proxy's address as its endpoint. Requests go on as they came, Host header included, so that the
signatures of a cloud's requests stay right.

    python tests/proxy.py ENDPOINT_URL LATENCY     the same as a process of its own, for measurements; ends when killed
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

WRITES = ("PUT", "POST", "PATCH", "DELETE")
CHUNK = 64 * 1024
HEAD_LIMIT = 256 * 1024
# S3 takes the code from the body, Azure from the header.
BUSY = ("503 Slow Down", "SlowDown", "ServerBusy")
BROKEN = ("500 Internal Server Error", "InternalError", "InternalError")
REFUSED = ("403 Forbidden", "AccessDenied", "AuthorizationPermissionMismatch")

Headers = list[tuple[str, str]]


class Proxy:
    """A proxy in a thread of this process, as a context; listens on `url`, a free port.

    Args:
        endpoint_url: of the server behind it.
        latency: seconds added to each request.
        fail_every: n: each n-th request is answered 503 and does not reach the server.
        break_every: n: each n-th request is answered 500 and does not reach the server.
        stall_every: n: each n-th request waits for `stall_seconds` before it goes on.
        reset_every: n: the connection of each n-th request is reset.
        cut_every: n: each n-th body ends halfway, short of the length that its header promises.
        shorten_every: n: each n-th body is half of it, and its header says so: a truncated file.
        refuse_writes: 403 for everything that writes; may be switched while it runs.
        match: (method, path with query) -> whether a request may meet a fault; every one by default. Each n-th is
            counted among those that match, bodies among the answers to GET of at least two bytes.

    `requests` counts by method, `faults` by kind: failed, broken, stalled, reset, cut, shortened, refused.
    """

    def __init__(
        self,
        endpoint_url: str,
        *,
        latency: float = 0.0,
        fail_every: int = 0,
        break_every: int = 0,
        stall_every: int = 0,
        stall_seconds: float = 30.0,
        reset_every: int = 0,
        cut_every: int = 0,
        shorten_every: int = 0,
        refuse_writes: bool = False,
        match: Callable[[str, str], bool] = lambda method, path: True,
    ) -> None:
        target = urlsplit(endpoint_url)
        self._host, self._port = str(target.hostname), target.port or 80
        self.latency, self.refuse_writes, self.match = latency, refuse_writes, match
        self.stall_seconds = stall_seconds
        self.every = {"failed": fail_every, "broken": break_every, "stalled": stall_every}
        self.every |= {"reset": reset_every, "cut": cut_every, "shortened": shorten_every}
        self.url = ""
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_LIMIT, backlog=1024)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection: request after request until either side has had enough."""
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            while await self._request(reader, writer):
                pass
        writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection can take another."""
        first, headers = await _read_head(reader)
        method, path, _ = first.split(" ", 2)
        if _get(headers, "expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
        # Read to its end in any case: what is left of it would be taken for the next request.
        body = await _read_body(reader, headers)
        self.requests[method] += 1
        if self.latency:
            await asyncio.sleep(self.latency)
        counted = self.match(method, path)
        if counted and self.refuse_writes and method in WRITES:
            self.faults["refused"] += 1
            return await _answer(writer, *REFUSED)
        if counted and self._is_turn("reset"):
            writer.transport.abort()
            return False
        if counted and self._is_turn("failed"):
            return await _answer(writer, *BUSY)
        if counted and self._is_turn("broken"):
            return await _answer(writer, *BROKEN)
        if counted and self._is_turn("stalled"):
            await asyncio.sleep(self.stall_seconds)
        upstream, forward = await asyncio.open_connection(self._host, self._port, limit=HEAD_LIMIT)
        try:
            kept = [pair for pair in headers if pair[0].lower() not in ("connection", "expect")]
            forward.write(_head(first, [*kept, ("Connection", "close")]) + body)
            await forward.drain()
            return await self._respond(method, counted, upstream, writer)
        finally:
            forward.close()

    async def _respond(
        self, method: str, counted: bool, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        first, headers = await _read_head(upstream)
        status = first.split(" ", 1)[1]
        headers = [pair for pair in headers if pair[0].lower() not in ("connection", "keep-alive")]
        length = int(_get(headers, "content-length") or 0)
        bodiless = method == "HEAD" or status[:3] in ("204", "304")
        framed = bodiless or _get(headers, "content-length") is not None or _get(headers, "transfer-encoding")
        sent = None
        if counted and method == "GET" and length > 1:
            if self._is_turn("shortened"):
                sent = length // 2
                headers = [pair for pair in headers if pair[0].lower() != "content-length"]
                headers.append(("Content-Length", str(sent)))
            elif self._is_turn("cut"):
                sent, framed = length // 2, False
        if not framed:
            headers.append(("Connection", "close"))
        writer.write(_head(f"HTTP/1.1 {status}", headers))
        await _pump(upstream, writer, sent)
        await writer.drain()
        return bool(framed)

    def _is_turn(self, fault: str) -> bool:
        """Whether this is the n-th since the last time."""
        every = self.every[fault]
        if not every:
            return False
        self._seen[fault] += 1
        if self._seen[fault] % every:
            return False
        self.faults[fault] += 1
        return True


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, Headers]:
    """The first line and the headers. Raises EOFError when the other side has ended the connection."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = text.split("\r\n")[:-2]
    pairs = [line.split(":", 1) for line in lines]
    return first, [(name, value.strip()) for name, value in pairs]


async def _read_body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    """A request's body, chunked as it came."""
    if "chunked" not in (_get(headers, "transfer-encoding") or "").lower():
        return await reader.readexactly(int(_get(headers, "content-length") or 0))
    parts: list[bytes] = []
    size = -1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        parts += [line, await reader.readexactly(size + 2)]
    return b"".join(parts)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
    """Hand on what comes until its end, or until that many bytes."""
    while data := await reader.read(CHUNK if limit is None else min(CHUNK, limit)):
        writer.write(data)
        await writer.drain()
        if limit is not None:
            limit -= len(data)


async def _answer(writer: asyncio.StreamWriter, status: str, s3_code: str, azure_code: str) -> bool:
    """An error of the storage's own, as its client expects it."""
    body = (
        f"<?xml version='1.0' encoding='utf-8'?><Error><Code>{s3_code}</Code><Message>A planned fault</Message></Error>"
    )
    headers = [("Content-Type", "application/xml"), ("x-ms-error-code", azure_code), ("Content-Length", str(len(body)))]
    writer.write(_head(f"HTTP/1.1 {status}", headers) + body.encode())
    await writer.drain()
    return True


def _head(first: str, headers: Headers) -> bytes:
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin-1")


def _get(headers: Headers, name: str) -> str | None:
    return next((value for given, value in headers if given.lower() == name), None)


if __name__ == "__main__":
    with Proxy(sys.argv[1], latency=float(sys.argv[2])) as proxy:
        sys.stdout.write(f"Listening on {proxy.url}\n")
        sys.stdout.flush()
        signal.pause()
