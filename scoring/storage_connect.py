"""From a URL and options to an fsspec filesystem that hides nothing: no listing is cached, no try is made twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import fsspec  # pyright: ignore[reportMissingTypeStubs]

from .errors import StorageFailed
from .storage_errors import Redaction
from .storage_transfer import is_of

_PACKAGES = {
    **dict.fromkeys(("abfs", "abfss", "az"), ("adlfs", "azure")),
    **dict.fromkeys(("gs", "gcs"), ("gcsfs", "gcs")),
}
"""For each protocol, the package that speaks it and the extra of prefect-batch that brings it."""

_SECONDS_TO_CONNECT = 20
_SECONDS_BETWEEN_BYTES = 60


def connect(url: str, options: Mapping[str, Any], redact: Redaction) -> tuple[Any, str]:
    """The filesystem and the path on it. Raises StorageFailed."""
    protocol = url.split("://", 1)[0].split("::", 1)[0] if "://" in url else "file"
    try:
        given = {**_defaults(protocol, options), **options}
        fs, path = cast("tuple[Any, str]", fsspec.url_to_fs(url, **given))  # pyright: ignore[reportUnknownMemberType]
    except ImportError as error:
        failed = _missing(protocol, error)
    except Exception as error:
        failed = StorageFailed(f"cannot open {redact(url)}: {redact(str(error) or type(error).__name__)}")
    else:
        _retry_nothing(fs)
        if is_of(fs, "abfs"):
            fs._strip_protocol, fs._parent = _plain_path, _parent
            path = str(_plain_path(url if "::" not in url else path))
        return fs, path
    raise failed


def _missing(protocol: str, error: ImportError) -> StorageFailed:
    if protocol in _PACKAGES:
        package, extra = _PACKAGES[protocol]
        return StorageFailed(f"{protocol}:// needs the package {package}: pip install 'prefect-batch[{extra}]'")
    return StorageFailed(f"{protocol}:// needs a package that is not installed here: {error}")


def _defaults(protocol: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that nobody gave. They also make the filesystem another one than that of a script in this process."""
    if protocol in ("s3", "s3a"):
        config = {"retries": {"total_max_attempts": 1}, **options.get("config_kwargs", {})}
        return {"use_listings_cache": False, "config_kwargs": config}
    if protocol in ("http", "https"):
        return {"use_listings_cache": False, "client_kwargs": _http_client(options.get("client_kwargs", {}))}
    return {"use_listings_cache": False} if protocol in _PACKAGES else {}


def _http_client(given: Mapping[str, Any]) -> dict[str, Any]:
    import aiohttp

    # aiohttp's own limit is five minutes for a whole file, however large and however steadily it comes.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SECONDS_TO_CONNECT, sock_read=_SECONDS_BETWEEN_BYTES)
    return {"timeout": timeout, **given}


def _retry_nothing(fs: Any) -> None:
    """Leave trying again to retries.py: its attempts must not be multiplied by those of the client libraries.

    Google's cannot be told; it is the deadline of retries.py that bounds them.
    """
    fs.dircache.use_listings_cache = False
    fs.dircache.clear()
    if hasattr(fs, "config_kwargs"):  # s3fs
        fs.retries = 1
    policy: Any = getattr(getattr(getattr(fs, "service_client", None), "_config", None), "retry_policy", None)
    if policy is not None:  # azure, whose first second try comes after 15 seconds
        policy.total_retries = 0


def _plain_path(path: Any) -> Any:
    """What adlfs is to take for the container and the name of a blob, instead of what it would.

    It parses every path as a URL: with `?`, `#` or a bracket in its name a file would be another one, or none.
    """
    if isinstance(path, list):
        return [_plain_path(one) for one in cast("list[str]", path)]
    for protocol in ("abfs", "abfss", "az"):
        path = path.removeprefix(f"{protocol}://")
    container, slash, name = str(path).lstrip("/").partition("/")
    if container.endswith(".core.windows.net") and "@" not in container:
        return name
    return container.partition("@")[0] + slash + name


def _parent(path: str) -> str:
    return str(_plain_path(path)).rstrip("/").rpartition("/")[0]
