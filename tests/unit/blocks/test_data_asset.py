"""Data assets as their users write them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.data_asset import DataAsset, load_data_asset, parse_data_asset
from prefect_batch.scoring.errors import InvalidDocument


def test_azures_file(tmp_path: Path) -> None:
    path = tmp_path / "heart.yml"
    path.write_text(
        "$schema: https://azuremlschemas.azureedge.net/latest/data.schema.json\n"
        "name: heart-dataset-unlabeled\ndescription: An unlabeled dataset.\nversion: 3\n"
        "type: uri_folder\npath: heart-classifier-mlflow/data\ntags: {year: 2024}\nproperties: {a: b}\n"
    )
    asset = load_data_asset(path, {})
    assert (asset.name, asset.version, asset.type, asset.path) == (
        "heart-dataset-unlabeled",
        "3",
        "uri_folder",
        "heart-classifier-mlflow/data",
    )
    assert (asset.tags, asset.properties, asset.label) == (
        {"year": "2024"},
        {"a": "b"},
        "azureml:heart-dataset-unlabeled:3",
    )
    assert load_data_asset(path, {"version": "4"}).version == "4"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"name": "x"}, "path is missing"),
        ({"path": "x"}, "name is missing"),
        ({"type": "mltable"}, "type: mltable is not supported: write the data as files, and type: uri_folder"),
        ({"type": "Tabular"}, "type: Tabular is not supported: v1 datasets are not supported"),
        ({"type": "mlflow_model"}, "type: 'mlflow_model' should be 'uri_file' or 'uri_folder'"),
        ({"name": "a b"}, "name: 'a b' must be up to 255 letters"),
        ({"version": "1/2"}, "version: '1/2' must be up to 255 letters"),
        ({"version": "latest"}, "version: 'latest' is what the label means: choose another, or leave version out"),
        ({"nme": "x"}, "nme is not a known key: did you mean name?"),
        ({"created_at": "2024-01-01"}, "created_at is not a known key"),
        ({"archived": True}, "archived is not a known key"),
        ({"reference": "/x"}, "reference is not a known key"),
    ],
)
def test_impossible_files(data: dict[str, Any], said: str) -> None:
    base = {} if "missing" in said else {"name": "heart", "path": "data"}
    with pytest.raises(InvalidDocument, match=re.escape(f"heart.yml: {said}")):
        parse_data_asset(base | data, "heart.yml")


def test_no_two_versions_share_a_document() -> None:
    pairs = [
        ("a", "1"),
        ("A", "1"),
        ("a-1", "1"),
        ("a", "1-1"),
        ("a.1", "1"),
        ("a_1", "1"),
        ("a", "11"),
        ("a" * 255, "1"),
    ]
    names = {DataAsset(name=name, version=version, path="x").document_name for name, version in pairs}
    assert len(names) == len(pairs)
    assert all(re.fullmatch("[a-z0-9-]{1,300}", name) for name in names)
