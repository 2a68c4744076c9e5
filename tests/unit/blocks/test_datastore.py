"""Where the default datastore is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.settings import get_current_settings

from prefect_batch.blocks.datastore import SETTING, default_url


def test_in_prefects_home_unless_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv(SETTING, raising=False)
    assert default_url() == str(get_current_settings().home / "prefect-batch")
    monkeypatch.setenv(SETTING, str(tmp_path))
    assert default_url() == str(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(SETTING, "here")
    assert default_url() == str(tmp_path / "here")
    monkeypatch.setenv(SETTING, "s3://bucket/folder")
    assert default_url() == "s3://bucket/folder"
