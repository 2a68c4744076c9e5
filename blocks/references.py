"""How data is pointed to: every spelling, read into one of four kinds of place. Pure text: nothing is looked up.

DatastorePath    azureml://datastores/<datastore>/paths/<path>, <datastore>:<path>, Azure's resource ids
AssetReference   azureml:<name>@latest, azureml:<name>:<version>, data:<name>@latest, Azure's resource ids
Url              s3://, abfss://, gs://, https:// and every other protocol of fsspec
LocalPath        file://, and all else

Paths are taken letter by letter: globs stay, and no %20 is decoded but in the https URL of an Azure blob.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

import fsspec  # pyright: ignore[reportMissingTypeStubs]

from ..scoring.errors import InvalidDocument

FORMS = "azureml:<asset>@latest, azureml://datastores/<datastore>/paths/<path>, a URL or a local path"
_WORKSPACE = re.compile(
    r"(?:subscriptions/[^/]+/resourcegroups/[^/]+/(?:providers/[^/]+/)?|locations/[^/]+/)workspaces/[^/]+/",
    re.IGNORECASE,
)
_DATASTORE = re.compile(r"datastores/([\w-]+)(?:/paths(?:/(.*))?)?/?", re.IGNORECASE | re.DOTALL)
_ASSET_ID = re.compile(
    r"data/([\w.-]+)/(?:(?:versions/)?labels/(?P<label>[\w.-]+)|versions/(?P<version>[\w.-]+))/?", re.IGNORECASE
)
_ASSET = re.compile(r"([\w.-]+)(?:@(?P<label>[\w.-]+)|:(?P<version>[\w.-]+))")
_SHORT = re.compile(r"([A-Za-z0-9][\w-]*):(.*)", re.DOTALL)
_PROTOCOL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_AZURE_HOST = re.compile(r"([a-z0-9-]+)\.(?:blob|dfs)\.(core\.[a-z.]+)", re.IGNORECASE)
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]+\](:[0-9]+)?")
_BLOB = {"abfs", "abfss", "az", "wasb", "wasbs"}
_BUCKETS = {"s3", "s3a", "s3n", "gs", "gcs", *_BLOB}
_SAME_AS = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "wasb": "abfss", "wasbs": "abfss"}
_SIGNED = re.compile(
    r"[?&](sig|signature|x-amz-signature|x-amz-credential|x-amz-security-token|awsaccesskeyid|x-goog-signature|"
    r"googleaccessid|access_token|token|api_?key|password|secret|accountkey)=",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class DatastorePath:
    """A path below a datastore's root; '' is the root itself, a trailing slash stays."""

    datastore: str
    path: str

    @property
    def reference(self) -> str:
        return f"azureml://datastores/{self.datastore}/paths/{self.path}"


@dataclass(frozen=True)
class AssetReference:
    """A version of a data asset: named, or by a label (`latest`)."""

    name: str
    version: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Url:
    """A place that fsspec opens, without credentials in it."""

    url: str


@dataclass(frozen=True)
class LocalPath:
    """A path as it was given, but for `file://`: relative or absolute, `~` not expanded."""

    path: str


Place = DatastorePath | AssetReference | Url | LocalPath


def parse(given: str) -> Place:
    """What a spelling points to. Raises InvalidDocument; no message repeats a credential."""
    if not given.strip() or "\0" in given:
        raise InvalidDocument(f"{given!r} names no data: give {FORMS}")
    lower = given.lower()
    if lower.startswith("azureml:"):
        return _azure(given, given[len("azureml:") :])
    if lower.startswith("/subscriptions/"):
        return _azure(given, given)
    if lower.startswith(("models:/", "runs:/")):
        raise _no_model(given)
    if match := _PROTOCOL.match(given):
        return _url(given, match[1].lower(), match[2])
    if lower.startswith("file:/"):
        return LocalPath(given[len("file:") :])
    if re.match(r"[A-Za-z]:([\\/]|$)|\\\\", given):
        raise InvalidDocument(f"{given!r} is a Windows path: name the folder as this machine mounts it, or a URL")
    if match := _SHORT.fullmatch(given):
        return _short(given, match[1], match[2])
    return LocalPath(given)


def check_path(path: str, given: str) -> str:
    """A path below a datastore's root, without leading slashes. Raises InvalidDocument for one that leaves it."""
    if ".." in path.split("/"):
        raise InvalidDocument(f"{given!r} leaves its datastore: write the path without '..'")
    return path.lstrip("/")


def _azure(given: str, text: str) -> Place:
    """Azure's own spellings: what follows `azureml:`, or a resource id."""
    _refuse_signed(given, "azureml")
    body = text.lstrip("/")
    inner = _WORKSPACE.sub("", body, count=1) if _WORKSPACE.match(body) else body
    kind = inner.partition("/")[0].lower()
    if kind == "registries":
        raise InvalidDocument(
            f"{given!r} is in a registry, which is not supported: make a data asset with `prefect-batch data create`"
        )
    if kind == "models" and "/" in inner:
        raise _no_model(given)
    if match := _DATASTORE.fullmatch(inner):
        return DatastorePath(match[1].lower(), check_path(match[2] or "", given))
    if match := _ASSET_ID.fullmatch(inner):
        return _asset(match)
    if inner == body and not text.startswith("//"):
        if match := _ASSET.fullmatch(body):
            return _asset(match)
        if re.fullmatch(r"[\w.-]+", body):
            raise InvalidDocument(
                f"{given!r} names no version: write azureml:{body}@latest or azureml:{body}:<version>"
            )
    raise InvalidDocument(f"{given!r} is not understood: give {FORMS}")


def _asset(match: re.Match[str]) -> AssetReference:
    label = match["label"]
    return AssetReference(match[1], match["version"], label.lower() if label else None)


def _short(given: str, prefix: str, rest: str) -> Place:
    """`data:<asset>@latest` and `<datastore>:<path>`."""
    _refuse_signed(given, prefix)
    if "://" in rest:
        raise _chained(prefix)
    if prefix.lower() == "data":
        if match := _ASSET.fullmatch(rest):
            return _asset(match)
        raise InvalidDocument(f"{given!r} names no version of a data asset: write data:<name>@latest or data:<name>:1")
    if rest.startswith("/") and _known(prefix.lower()):
        raise InvalidDocument(f"{given!r} is not a URL: write {prefix}:// with two slashes")
    return DatastorePath(prefix.lower(), check_path(rest, given))


def _url(given: str, protocol: str, rest: str) -> Place:
    if protocol in ("file", "local"):
        return LocalPath(rest.removeprefix("localhost") if rest.startswith("localhost/") else rest)
    _refuse_signed(given, protocol)
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    in_front = ":" in user or (at and protocol in ("http", "https"))
    if not in_front and "::" in rest.removeprefix(authority if host.startswith("[") else ""):
        raise _chained(protocol)
    if in_front or not _is_host(host, protocol):
        raise _credential(f"{protocol}://...", "in front of its host")
    if host.startswith("[") and not _IPV6.fullmatch(host):  # fsspec would find protocols in it
        raise InvalidDocument(f"{given!r} is not understood: what stands in brackets is no IPv6 address")
    if not _known(protocol):
        raise InvalidDocument(f"{given!r}: {protocol}:// is not a protocol that fsspec knows: give {FORMS}")
    if match := _AZURE_HOST.fullmatch(host):
        return _azure_blob(given, protocol, f"{match[1]}.dfs.{match[2]}".lower(), user, path)
    if protocol in ("wasb", "wasbs"):
        raise InvalidDocument(
            f"{given!r} is not understood: write wasbs://<container>@<account>.blob.core.windows.net/"
        )
    return Url(f"{_SAME_AS.get(protocol, protocol)}://{authority}{slash}{path}")


def _is_host(host: str, protocol: str) -> bool:
    """Whether a host, not the first half of a key whose second half holds a slash."""
    if host.startswith("arn:"):
        return True
    _, colon, port = re.sub(r"^\[[^]]*\]", "", host).rpartition(":")
    return not colon or (port.isdigit() and protocol not in _BUCKETS)


def _azure_blob(given: str, protocol: str, host: str, container: str, path: str) -> Url:
    """One spelling for all of Azure's: its library reads the account from it."""
    if protocol in ("http", "https"):
        if "?" in path:
            return Url(given)  # one version of a blob, say
        container, _, path = unquote(path).partition("/")
    if not container or (protocol not in _BLOB and protocol not in ("http", "https")):
        raise InvalidDocument(
            f"{given!r} names no container: write https://<account>.blob.core.windows.net/<container>/"
        )
    return Url(f"abfss://{container}@{host}/{path}")


def _known(protocol: str) -> bool:
    known = fsspec.available_protocols()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return protocol in known or protocol in _SAME_AS


def _refuse_signed(given: str, protocol: str) -> None:
    if match := _SIGNED.search(given):
        raise _credential(f"{protocol}://...", f"({match[1]}=)")


def _credential(shown: str, where: str) -> InvalidDocument:
    return InvalidDocument(
        f"{shown} carries a credential {where}, and would show it to everyone who sees the job: make a datastore with "
        "`prefect-batch datastore create` and write azureml://datastores/<datastore>/paths/<path>"
    )


def _chained(protocol: str) -> InvalidDocument:
    return InvalidDocument(f"{protocol}:... chains protocols, which is not supported: give the data's own URL")


def _no_model(given: str) -> InvalidDocument:
    return InvalidDocument(f"{given!r} is a model, not data: name a data asset, a folder or a URL")
