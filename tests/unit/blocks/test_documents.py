"""YAML and validation: every error is one line that names file, key and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.documents import load_yaml, validate
from prefect_batch.blocks.endpoint import BatchEndpoint
from prefect_batch.blocks.settings import JobSettings
from prefect_batch.scoring.errors import InvalidDocument


def test_a_mapping_without_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text("$schema: https://x\na: 1\nb: {c: [1, 2]}\nd: ünï\n")
    assert load_yaml(path) == {"a": 1, "b": {"c": [1, 2]}, "d": "ünï"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: 1\nb: [1, 2\n", "line 3, column 1: not valid YAML: expected ',' or ']'"),
        (b"a: 1\n b: 2\n", "line 2, column 3: not valid YAML"),
        (b"a: 1\nb: 2\na: 3\n", "line 3, column 1: not valid YAML: a stands twice"),
        (b"s:\n  a: 1\n  a: 3\n", "line 3, column 3: not valid YAML: a stands twice"),
        (b"? [a, b]\n: 1\n", "not valid YAML: a key must be plain text"),
        (b"? {a: b}\n: 1\n", "not valid YAML: a key must be plain text"),
        (b"a: \x01\n", "not valid YAML: unacceptable character"),
        (b"a: 2024-13-45\n", "not valid YAML: month must be in 1..12"),
        (b"a: \xff\xfe\n", "cannot be read: 'utf-8'"),
        (b"a: !!python/object/apply:os.system [ls]\n", "not valid YAML: could not determine a constructor"),
        (b"", "must be a mapping of keys to values"),
        (b"- a\n- b\n", "must be a mapping of keys to values"),
        (b"just text\n", "must be a mapping of keys to values"),
    ],
)
def test_yaml_errors_fit_on_one_line_and_name_the_place(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "x.yml"
    path.write_bytes(text)
    with pytest.raises(InvalidDocument) as caught:
        load_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert "\n" not in message


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match=r"nothing.yml: no such file$"):
        load_yaml(tmp_path / "nothing.yml")
    with pytest.raises(InvalidDocument, match="cannot be read"):
        load_yaml(tmp_path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"mini_batch_sise": 1}, "mini_batch_sise is not a known key: did you mean mini_batch_size?"),
        ({"xyz": 1}, "xyz is not a known key: known keys are error_threshold, instance_count"),
        ({"mini_batch_size": 0}, "mini_batch_size: 0 should be greater than or equal to 1"),
        ({"retry_settings": {"timeout": -1}}, "retry_settings.timeout: -1 should be greater than 0"),
        ({"retry_settings": {"retries": 1}}, "retry_settings.retries is not a known key: did you mean max_retries?"),
        ({"retry_settings": 3}, "retry_settings: 3 must be a mapping of keys to values"),
    ],
)
def test_job_settings(data: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        validate(JobSettings, data, "settings")
    assert str(caught.value).startswith(f"settings: {said}")
    assert "\n" not in str(caught.value)


def test_all_causes_are_told() -> None:
    with pytest.raises(InvalidDocument, match=r"^x: mini_batch_size: 0 .*; instance_count: 'a' .*$"):
        validate(JobSettings, {"mini_batch_size": 0, "instance_count": "a"}, "x")


def test_keys_of_a_block_are_checked_as_well() -> None:
    keys = {"name", "description"}
    assert validate(BatchEndpoint, {"name": "heart"}, "x.yml", keys).name == "heart"
    with pytest.raises(InvalidDocument, match=r"^x.yml: descripton is not a known key: did you mean description\?$"):
        validate(BatchEndpoint, {"name": "heart", "descripton": "x"}, "x.yml", keys)
    with pytest.raises(InvalidDocument, match=r"^x.yml: 3 is not a known key"):
        validate(BatchEndpoint, {3: "x"}, "x.yml", keys)  # type: ignore[dict-item]
