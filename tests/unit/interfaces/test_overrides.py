"""What --set means."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_batch.interfaces import overrides
from prefect_batch.scoring.errors import InvalidDocument


@pytest.mark.parametrize(
    ("assignments", "parsed"),
    [
        ([], {}),
        (["mini_batch_size=2"], {"mini_batch_size": 2}),
        (["settings.mini_batch_size=2"], {"mini_batch_size": 2}),
        (
            ["retry_settings.timeout=60", "retry_settings.max_retries=1"],
            {"retry_settings": {"timeout": 60, "max_retries": 1}},
        ),
        (["error_threshold=5%"], {"error_threshold": "5%"}),
        (["output_file_name=a=b.csv"], {"output_file_name": "a=b.csv"}),
        (["inputs.d.path=2024"], {"inputs": {"d": {"path": "2024"}}}),
        (['inputs.d.path=["a", "b"]'], {"inputs": {"d": {"path": ["a", "b"]}}}),
        (["mini_batch_size=1", "mini_batch_size=2"], {"mini_batch_size": 2}),
    ],
)
def test_assignments(assignments: list[str], parsed: dict[str, object]):
    assert overrides.parse(assignments) == parsed


@pytest.mark.parametrize("bad", ["mini_batch_size", "=2", ""])
def test_an_assignment_without_key_or_value_is_refused(bad: str):
    with pytest.raises(InvalidDocument, match="write KEY=VALUE"):
        overrides.parse([bad])


def test_a_key_cannot_be_a_value_and_a_group(tmp_path: Path):
    with pytest.raises(InvalidDocument, match="retry_settings"):
        overrides.parse(["retry_settings=3", "retry_settings.timeout=2"])


def test_assignments_change_what_a_file_says():
    said = {"inputs": {"d": {"path": "x"}}, "mini_batch_size": 1}
    changed = overrides.parse(["inputs.d.type=uri_file", "mini_batch_size=2"], onto=said)
    assert changed == {"inputs": {"d": {"path": "x", "type": "uri_file"}}, "mini_batch_size": 2}
    assert said == {"inputs": {"d": {"path": "x"}}, "mini_batch_size": 1}


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("invoke heart --set a=1 --stream", "invoke heart --set a=1 --stream"),
        ("--set a=1 b.c=2 --stream", "--set a=1 --set b.c=2 --stream"),
        ("--set a=1 b.c=2 heart", "--set a=1 --set b.c=2 heart"),
        ("--set i.d.type uri_file i.d.path lake:x/ heart", "--set i.d.type=uri_file --set i.d.path=lake:x/ heart"),
        ("--set i.d.path ./x=1 --input y=2", "--set i.d.path=./x=1 --input y=2"),
        ("--set a --set b=1", "--set a --set b=1"),
        ("--set i.d.path --stream", "--set i.d.path --stream"),
        ("--set", "--set"),
        ("--input a.b c", "--input a.b c"),
    ],
)
def test_one_set_takes_several_assignments(typed: str, means: str):
    assert overrides.spread(typed.split()) == means.split()


def test_of_a_document_settings_are_a_key_like_others():
    assert overrides.document(["settings.mini_batch_size=3", "tags.a=b"]) == {
        "settings": {"mini_batch_size": 3},
        "tags": {"a": "b"},
    }
