"""What starts often starts without what takes long to import."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("interfaces.cli", "prefect pandas pyarrow dask distributed mlflow fsspec"),
        ("interfaces.call", "pandas pyarrow numpy dask distributed mlflow"),
        ("interfaces.client", "pandas pyarrow numpy dask distributed mlflow"),
        ("flows.jobs", "pandas pyarrow numpy dask distributed mlflow"),
        ("flows.endpoint", "pandas pyarrow mlflow s3fs adlfs"),
        ("scoring.slots", "prefect dask distributed pandas pyarrow numpy mlflow"),
    ],
)
def test_imports(module: str, without: str) -> None:
    code = f"import sys, prefect_batch.{module}; print(*sys.modules.keys() & set({without.split()!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
