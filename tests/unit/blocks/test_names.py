"""Names, and that no two deployment versions share a document."""

from __future__ import annotations

import itertools
import re

import pytest
from pydantic import TypeAdapter, ValidationError

from prefect_batch.blocks.names import (
    Name,
    document_name,
    document_prefix,
    strip_reference,
    version_name,
    version_prefix,
)

NAME: TypeAdapter[str] = TypeAdapter(Name)


@pytest.mark.parametrize("name", ["a1-", "a" * 33, "ab", "", "1abc", "-abc", "a_b", "a b", "a.b", "ábc", "abc\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ValidationError, match="must be 3 to 32 letters, digits and dashes"):
        NAME.validate_python(name)


@pytest.mark.parametrize("name", ["a-1", "heart-classifier", "a" * 32, "a--b", "x9z"])
def test_good_names(name: str) -> None:
    assert NAME.validate_python(name) == name
    assert NAME.validate_python(name.upper()) == name


def test_no_two_versions_share_a_document() -> None:
    """All names of letters and dashes up to six characters, as endpoint and as deployment."""
    names = [
        text
        for length in range(1, 7)
        for letters in itertools.product("a-", repeat=length)
        if re.fullmatch("a([-a]*a)?", text := "".join(letters))
    ]
    made = {
        version_name(endpoint, deployment, version)
        for endpoint, deployment, version in itertools.product(names, names, (1, 2, 11))
    }
    assert len(names) > 30
    assert len(made) == len(names) ** 2 * 3


def test_document_names_are_what_prefect_takes() -> None:
    assert version_name("heart", "gbm", 3) == "heart--gbm--v3"
    assert version_name("a-b", "c--d", 1) == "a-b--c---d--v1"
    assert re.fullmatch("[a-z0-9-]+", version_name("a--b9", "c-d", 10))


def test_names_of_one_endpoint_or_deployment_begin_alike() -> None:
    assert version_name("a-b", "c--d", 12).startswith(version_prefix("a-b", "c--d"))
    assert version_prefix("a-b", "c--d").startswith(version_prefix("a-b"))
    assert not version_name("a-b-c", "d", 1).startswith(version_prefix("a-b"))


@pytest.mark.parametrize("name", ["heart", "Heart.v", "_", "a" * 98 + "._.b", "a" * 255])
def test_names_of_one_asset_begin_alike(name: str) -> None:
    made = document_name(name, "1")
    assert made.startswith(document_prefix(name)) and re.fullmatch("[a-z0-9-]+", made)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("batch-cluster", "batch-cluster"),
        ("azureml:batch-cluster", "batch-cluster"),
        ("azureml:/batch-cluster", "batch-cluster"),
        ("azureml:batch-cluster:1", "batch-cluster"),
        ("azureml:batch-cluster@latest", "batch-cluster"),
    ],
)
def test_references(given: str, name: str) -> None:
    assert strip_reference(given) == name
