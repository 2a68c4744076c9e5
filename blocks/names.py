"""Names of endpoints and deployments, and of the block documents that hold them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_NAME = re.compile(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
RULE = "3 to 32 letters, digits and dashes, starting with a letter and not ending with a dash"


def _check(value: str) -> str:
    if not 3 <= len(value) <= 32 or not _NAME.fullmatch(value):
        raise ValueError(f"must be {RULE}")
    return value.lower()


Name = Annotated[str, AfterValidator(_check)]
"""Azure ML's rule for endpoints and deployments; upper case is folded, as Prefect's block names know none."""


def version_name(endpoint: str, deployment: str, version: int) -> str:
    """The block document of one deployment version, `heart--gbm--v3`.

    No two deployments share a name: a run of n dashes inside a name is written as 2n - 1, so that a run of exactly
    two only ever separates.
    """
    return f"{_escape(endpoint)}--{_escape(deployment)}--v{version}"


def _escape(name: str) -> str:
    return re.sub("-+", lambda dashes: "-" * (2 * len(dashes[0]) - 1), name)


def strip_reference(value: str) -> str:
    """`azureml:batch-cluster` and `azureml:batch-cluster:1` name what `batch-cluster` names."""
    return re.sub(r"^azureml:/?", "", value).split(":")[0].split("@")[0]
