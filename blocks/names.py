"""Names of what is stored, and of the block documents that hold it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

_NAME = re.compile(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
RULE = "3 to 32 letters, digits and dashes, starting with a letter and not ending with a dash"


def is_name(value: str) -> bool:
    """Whether a text may be the name of an endpoint or a deployment."""
    return 3 <= len(value) <= 32 and _NAME.fullmatch(value) is not None


def _check(value: str) -> str:
    if not is_name(value):
        raise ValueError(f"must be {RULE}")
    return value.lower()


Name = Annotated[str, AfterValidator(_check)]
"""Azure ML's rule for endpoints and deployments; upper case is folded, as Prefect's block names know none."""

_DATASTORE = re.compile(r"[a-zA-Z0-9][\w-]{1,127}", re.ASCII)
_ASSET = re.compile(r"[a-zA-Z0-9_][\w.-]{0,254}", re.ASCII)
_RESERVED = {"azureml", "data", "file", "http", "https", "models", "runs"}


def _check_datastore(value: str) -> str:
    if not _DATASTORE.fullmatch(value):
        raise ValueError("must be 2 to 128 letters, digits, dashes and underscores, starting with a letter or digit")
    if value.lower() in _RESERVED:
        raise ValueError("means something else in front of a colon: choose another name")
    return value.lower()


def _check_asset(value: str) -> str:
    if not _ASSET.fullmatch(value):
        raise ValueError(
            "must be up to 255 letters, digits, dashes, underscores and dots, starting with no dash or dot"
        )
    return value


DatastoreName = Annotated[str, AfterValidator(_check_datastore)]
"""Azure ML's rule and dashes; upper case is folded. One letter would be a Windows drive."""

AssetName = Annotated[str, AfterValidator(_check_asset)]
"""Azure ML's rule for assets; it also holds for their versions."""


def document_name(*parts: str) -> str:
    """A block document's name for any texts: readable where block names (`[a-z0-9-]+`) allow, and of these texts only.

    A single text that is such a name already stays as it is.
    """
    slug = _slug(parts)
    if parts == (slug,):
        return slug
    return f"{slug[:100]}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"


def document_prefix(*parts: str) -> str:
    """What all names begin with that document_name gives for these texts and more."""
    return _slug(parts)[:100]


def version_name(endpoint: str, deployment: str, version: int) -> str:
    """The block document of one deployment version, `heart--gbm--v3`.

    No two deployments share a name: a run of n dashes inside a name is written as 2n - 1, so that a run of exactly
    two only ever separates.
    """
    return f"{version_prefix(endpoint, deployment)}{version}"


def version_prefix(endpoint: str, deployment: str | None = None) -> str:
    """What the names of all versions of an endpoint's deployments begin with, or those of one of them."""
    return f"{_escape(endpoint)}--" + ("" if deployment is None else f"{_escape(deployment)}--v")


def _slug(parts: Sequence[str]) -> str:
    return re.sub("[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def _escape(name: str) -> str:
    return re.sub("-+", lambda dashes: "-" * (2 * len(dashes[0]) - 1), name)


def strip_reference(value: str) -> str:
    """`azureml:batch-cluster` and `azureml:batch-cluster:1` name what `batch-cluster` names."""
    return re.sub(r"^azureml:/?", "", value).split(":")[0].split("@")[0]
