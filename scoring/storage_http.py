"""Folders on a web server: what its index pages list."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any, NamedTuple, cast
from urllib.parse import quote, unquote, urljoin, urlsplit

from fsspec.asyn import sync  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from .errors import StorageFailed
from .storage_listing import Found, Run, Skip

_DEPTH = 32
_LARGEST_PAGE = 64 * 2**20
"""Bytes of an index page: a server may send one without an end."""


class Head(NamedTuple):
    """What a server says of a URL: where it led to, its type, its bytes, and whether parts of it can be asked for."""

    url: str
    media_type: str
    size: int | None
    ranges: bool


def join(folder: str, name: str) -> str:
    """The URL of a file below a folder: what means something in a URL is quoted."""
    return f"{folder.rstrip('/')}/{quote(name)}"


def head(fs: Any, url: str) -> Head:
    """Ask about a URL without fetching it; by GET where HEAD is refused, as it is for a URL signed for GET."""
    return cast("Head", sync(fs.loop, _head, fs, url))


async def _head(fs: Any, url: str) -> Head:
    session = await fs.set_session()
    options = dict(fs.kwargs)
    options["headers"] = {**options.get("headers", {}), "Accept-Encoding": "identity"}
    for method in (session.head, session.get):
        async with method(fs.encode_url(url), allow_redirects=True, **options) as response:
            if method == session.head and response.status >= 400:
                continue
            if response.status == 404:
                raise FileNotFoundError(url)
            response.raise_for_status()
            size: str | None = response.headers.get("Content-Length")
            encoded = response.headers.get("Content-Encoding", "identity") != "identity"
            return Head(
                str(response.url),
                response.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
                int(size) if size and not encoded else None,
                response.headers.get("Accept-Ranges", "") == "bytes" and not encoded,
            )
    raise FileNotFoundError(url)


def _page(fs: Any, url: str) -> bytes:
    return cast("bytes", sync(fs.loop, _fetch_page, fs, url))


async def _fetch_page(fs: Any, url: str) -> bytes:
    session = await fs.set_session()
    page = bytearray()
    async with session.get(fs.encode_url(url), **fs.kwargs) as response:
        if response.status == 404:
            raise FileNotFoundError(url)
        response.raise_for_status()
        async for chunk in response.content.iter_any():
            page += chunk
            if len(page) > _LARGEST_PAGE:
                raise StorageFailed(f"{url}: its page is larger than {_LARGEST_PAGE} bytes, and so no list of files")
    return bytes(page)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def links(page: bytes, url: str) -> list[str]:
    """The names that an index page links to below its own URL, sorted; a folder's ends in "/".

    Links that lead out of the folder and those that sort the page (`?C=N`) are none.
    """
    parser = _Links()
    parser.feed(page.decode("utf-8", "replace"))
    base = unquote(url)
    names: set[str] = set()
    for link in parser.found:
        try:
            target = urlsplit(urljoin(url, link.strip()))
        except ValueError:
            continue
        absolute = unquote(target._replace(query="", fragment="").geturl())
        name = absolute.removeprefix(base)
        if target.query or name in ("", absolute) or ".." in name.split("/") or "\0" in name:
            continue
        names.add(name)
    return sorted(names, key=lambda name: name.split("/"))


def size(fs: Any, url: str) -> tuple[bool, int | None]:
    """Whether a URL is a folder's index page, and the bytes of what is none. Raises FileNotFoundError."""
    about = head(fs, url)
    if about.url.partition("?")[0].endswith("/"):
        return True, None
    if about.media_type == "text/html":  # a web page, or an index that is found without the slash too
        with contextlib.suppress(Exception):
            if links(_page(fs, url + "/"), url + "/"):
                return True, None
    return False, about.size


def names(fs: Any, url: str) -> list[str]:
    """Base names of what an index page links to, in no order."""
    base = url.rstrip("/") + "/"
    return list({name.split("/")[0] for name in links(_page(fs, base), base)})


def walk(fs: Any, url: str, skip: Skip, run: Run[bytes], prefix: str = "") -> Iterator[Found]:
    """Every file that the index pages below a folder's URL link to, folder by folder; they do not tell sizes.

    Raises StorageFailed for folders without an end: a server may show a link to a folder within that folder itself.
    """
    if prefix.count("/") > _DEPTH:
        raise StorageFailed(f"{url}: folders more than {_DEPTH} deep: does one of them link back to itself?")
    base = url.rstrip("/") + "/"
    page: Callable[[], bytes] = lambda: _page(fs, base)  # noqa: E731
    for name in links(run("list", base, page), base):
        if any(map(skip, name.rstrip("/").split("/"))):
            continue
        if name.endswith("/"):
            yield from walk(fs, base + quote(name), skip, run, prefix + name)
        else:
            yield Found(prefix + name, None)
