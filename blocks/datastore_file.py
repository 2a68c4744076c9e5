"""Datastores as users write them: Azure ML's keys for its own kinds, and as few as it takes for the others."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, create_model, model_validator

from ..scoring.errors import InvalidDocument
from .datastore import Datastore
from .documents import Text, load_yaml, validate
from .names import DatastoreName
from .references import LocalPath, Url, parse
from .settings import Document

_REFUSED = {
    "azurefile": "mount the share and write type: local, or copy the data to a blob container",
    "azuredatalakegen1": "Azure has retired it: copy the data to type: azure_data_lake_gen2",
}
_LOOKS_SECRET = re.compile(r"key|secret|.*(secret|passw|token|_key$|sas_|connection_string|credential|apikey).*", re.I)


def _bucket(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9$][\w.-]*", value, re.ASCII):
        raise ValueError("must be a plain name, without a protocol or a path")
    return value


def _prefix(value: str) -> str:
    if ".." in value.split("/"):
        raise ValueError("must not hold '..'")
    return value.strip("/")


_Bucket = Annotated[str, AfterValidator(_bucket)]
_Prefix = Annotated[str, AfterValidator(_prefix)]


class _File(Document):
    """Keys of every kind."""

    name: DatastoreName
    type: str = ""
    description: str | None = None
    tags: dict[str, Text] = Field(default_factory=dict)
    read_only: bool = False
    options: dict[str, Any] = Field(default_factory=dict)

    def root(self, beside: Path) -> str:
        """The URL of the datastore's root."""
        raise NotImplementedError

    def fsspec_options(self) -> dict[str, Any]:
        return {}

    def secret_options(self, beside: Path) -> dict[str, Any] | None:
        return None


class _Local(_File):
    path: str = Field(min_length=1)

    def root(self, beside: Path) -> str:
        place = parse(self.path)
        if not isinstance(place, LocalPath):
            raise InvalidDocument(f"{self.path!r} is not a local folder: write type: url and the URL under url")
        return os.path.normpath(beside.absolute() / Path(place.path).expanduser())


class _Url(_File):
    url: str
    credentials: dict[str, Any] | None = None

    def root(self, beside: Path) -> str:
        place = parse(self.url)
        if not isinstance(place, Url):
            raise InvalidDocument(f"{self.url!r} is not a URL of storage: write type: local for a folder")
        return place.url

    def secret_options(self, beside: Path) -> dict[str, Any] | None:
        return self.credentials


class _Remote(_File):
    """Keys of every kind of object storage."""

    prefix: _Prefix = ""
    anonymous: bool = Field(default=False, description="Public data, read without credentials.")

    @model_validator(mode="after")
    def _one_way(self) -> _Remote:
        if self.anonymous and getattr(self, "credentials", None) is not None:
            raise ValueError("anonymous: true goes without credentials: keep one")
        return self

    def _rooted(self, url: str) -> str:
        return f"{url}/{self.prefix}" if self.prefix else url


class _AzureCredentials(Document):
    account_key: str | None = None
    sas_token: str | None = None
    connection_string: str | None = None
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> _AzureCredentials:
        principal = [self.tenant_id, self.client_id, self.client_secret]
        ways = [self.account_key, self.sas_token, self.connection_string, all(principal) or None]
        if sum(way is not None for way in ways) != 1 or (any(principal) and not all(principal)):
            raise ValueError(
                "give one of account_key, sas_token, connection_string, or tenant_id with client_id and client_secret"
            )
        return self


class _Azure(_Remote):
    account_name: _Bucket
    endpoint: str = "core.windows.net"
    credentials: _AzureCredentials | None = None

    def _url(self, container: str) -> str:
        return self._rooted(f"abfss://{container}@{self.account_name}.dfs.{self.endpoint}".lower())

    def fsspec_options(self) -> dict[str, Any]:
        other = self.endpoint != "core.windows.net"
        host = {"account_host": f"{self.account_name}.blob.{self.endpoint}"} if other else {}
        return {"account_name": self.account_name, "anon": self.anonymous, **host}

    def secret_options(self, beside: Path) -> dict[str, Any] | None:
        return self.credentials.model_dump(exclude_none=True) if self.credentials else None


class _AzureBlob(_Azure):
    container_name: _Bucket
    protocol: Literal["https", "wasbs"] = "https"

    def root(self, beside: Path) -> str:
        return self._url(self.container_name)


class _AzureDataLake(_Azure):
    filesystem: _Bucket
    protocol: Literal["https", "abfss"] = "https"

    def root(self, beside: Path) -> str:
        return self._url(self.filesystem)


class _S3Credentials(Document):
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


class _S3(_Remote):
    bucket: _Bucket
    endpoint_url: str | None = Field(default=None, description="Of an S3-compatible server.")
    region: str | None = None
    credentials: _S3Credentials | None = None

    def root(self, beside: Path) -> str:
        return self._rooted(f"s3://{self.bucket}")

    def fsspec_options(self) -> dict[str, Any]:
        given = {
            "endpoint_url": self.endpoint_url,
            "client_kwargs": {"region_name": self.region} if self.region else None,
            "anon": self.anonymous or None,
        }
        return {key: value for key, value in given.items() if value is not None}

    def secret_options(self, beside: Path) -> dict[str, Any] | None:
        if self.credentials is None:
            return None
        given = self.credentials
        token = {"token": given.session_token} if given.session_token else {}
        return {"key": given.access_key_id, "secret": given.secret_access_key, **token}


class _GcsCredentials(Document):
    service_account: str | dict[str, Any] = Field(description="The JSON key, or the path of its file.")


class _Gcs(_Remote):
    bucket: _Bucket
    endpoint_url: str | None = None
    credentials: _GcsCredentials | None = None

    def root(self, beside: Path) -> str:
        return self._rooted(f"gs://{self.bucket}")

    def fsspec_options(self) -> dict[str, Any]:
        endpoint = {"endpoint_url": self.endpoint_url} if self.endpoint_url else {}
        return {**endpoint, "token": "anon"} if self.anonymous else endpoint  # nosec B105 # gcsfs's word for nobody

    def secret_options(self, beside: Path) -> dict[str, Any] | None:
        if self.credentials is None:
            return None
        key = self.credentials.service_account
        return {"token": key if isinstance(key, dict) else _json_key(key, beside)}


_KINDS: dict[str, tuple[str, type[_File]]] = {
    "local": ("local", _Local),
    "azureblob": ("azure_blob", _AzureBlob),
    "azuredatalakegen2": ("azure_data_lake_gen2", _AzureDataLake),
    "s3": ("s3", _S3),
    "gcs": ("gcs", _Gcs),
    "gs": ("gcs", _Gcs),
    "url": ("url", _Url),
}


def parse_datastore(data: dict[str, Any], where: str, beside: Path) -> Datastore:
    """A datastore as its user wrote it. Raises InvalidDocument, in whose message no credential stands.

    Args:
        data: the mapping, `$schema` or not.
        where: the file's name, for messages.
        beside: the folder that relative paths in it mean.
    """
    data = {key: value for key, value in data.items() if key != "$schema"}
    kind = data.get("type")
    known = ", ".join(dict.fromkeys(name for name, _ in _KINDS.values()))
    if not isinstance(kind, str):
        raise InvalidDocument(f"{where}: type is missing: write one of {known}")
    folded = kind.lower().replace("_", "")
    if folded in _REFUSED:
        raise InvalidDocument(f"{where}: type: {kind} is not supported: {_REFUSED[folded]}")
    if folded not in _KINDS:
        raise InvalidDocument(f"{where}: type: {kind!r} is not known: write one of {known}")
    name, model = _KINDS[folded]
    read = validate(model, data, where)
    _check_options({"options": read.options, "endpoint_url": getattr(read, "endpoint_url", None)}, where)
    try:
        given: dict[str, Any] = {
            "name": read.name,
            "type": name,
            "url": read.root(beside),
            "options": {**read.options, **read.fsspec_options()},
        }
        if "credentials" in read.model_fields_set:
            given["credentials"] = read.secret_options(beside)
    except InvalidDocument as error:
        raise InvalidDocument(f"{where}: {error}") from None
    given |= read.model_dump(include=read.model_fields_set & {"description", "tags", "read_only"})
    return validate(Datastore, given, where)


def parse_credentials(datastore: Datastore, given: dict[str, Any], where: str, beside: Path) -> dict[str, Any]:
    """Credentials for a datastore, as under `credentials` in its file. Raises InvalidDocument, which shows none.

    Args:
        datastore: that they open.
        given: the mapping.
        where: the file's name, for messages.
        beside: the folder that relative paths in it mean.
    """
    _, model = _KINDS[datastore.type.replace("_", "")]
    if "credentials" not in model.model_fields:
        raise InvalidDocument(f"datastore {datastore.name!r} is of type {datastore.type}, which takes no credentials")
    kind: Any = model.model_fields["credentials"].annotation
    own: type[Document] = create_model("Own", __base__=Document, credentials=(kind, ...))
    read: Any = validate(own, {"credentials": given}, where)
    secret = model.model_construct(credentials=read.credentials).secret_options(beside)
    if not secret:
        raise InvalidDocument(f"{where}: credentials is empty: write those of a datastore of type {datastore.type}")
    return secret


def load_datastore(path: Path, given: dict[str, Any] | None = None) -> Datastore:
    """A datastore's YAML file; `given` takes the place of its keys. Raises InvalidDocument."""
    return parse_datastore(load_yaml(path) | (given or {}), str(path), path.parent)


def _check_options(options: dict[str, Any], where: str, above: str = "") -> None:
    """Refuse a secret where everyone can see it."""
    for key, value in options.items():
        if isinstance(value, dict):
            _check_options(cast("dict[str, Any]", value), where, f"{above}{key}.")
        elif isinstance(value, str) and (_LOOKS_SECRET.fullmatch(key) or re.search("://.*@", value)):
            raise InvalidDocument(
                f"{where}: {above}{key} holds a credential, which everyone would see: write it under credentials"
            )


def _json_key(given: str, beside: Path) -> dict[str, Any]:
    path = beside / Path(given).expanduser()
    message = "credentials.service_account must be the JSON key of a service account, or the path of its file"
    if given.lstrip().startswith("{"):
        text = given
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise InvalidDocument(f"{message} (which cannot be read)") from None
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    if not isinstance(key, dict):
        raise InvalidDocument(f"{message} (it is not JSON)")
    return cast("dict[str, Any]", key)
