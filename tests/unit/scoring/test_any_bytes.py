"""Whatever bytes a file has: it is a table with a row for each prediction, or a counted error that says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefect_batch.scoring.contract import ScoringSpec
from prefect_batch.scoring.items import LocalItem
from prefect_batch.scoring.mlflow_model import MlflowScorer

cells = st.one_of(
    st.text(max_size=20),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(['"', "\x00", "\r", "a", "b", ""]),
)
tables = st.lists(st.lists(cells, max_size=4), max_size=6).map(lambda rows: "\n".join(",".join(row) for row in rows))
headed = tables.map(lambda text: f"a,b\n{text}")
encodings = st.sampled_from(["utf-8", "utf-16", "latin-1", "utf-8-sig", "cp500"])
texts = st.builds(lambda text, encoding: text.encode(encoding, "replace"), tables | headed, encodings)
endings = st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".csv.gz", ".csv.zst", ".png", ""])


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], tuple[int, list[str]]]:
    """Scores one file by a model of two columns; the number of rows, and the messages of errors."""
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    x = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [2.0, 1.0, 4.0]})
    model = LinearRegression().fit(x, [1.0, 2.0, 3.0])
    path = tmp_path_factory.mktemp("models") / "two"
    mlflow.sklearn.save_model(model, str(path), signature=infer_signature(x, model.predict(x)))
    scorer = MlflowScorer(ScoringSpec(mlflow_model=str(path), output_format="csv"))

    def call(file: Path) -> tuple[int, list[str]]:
        scored = scorer.score([LocalItem(str(file), file.name, file.name)], final=True)
        return scored.chunk.rows, [error.message for error in scored.errors]

    return call


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | texts, ending=endings)
def test_any_bytes(score: Callable[[Path], tuple[int, list[str]]], tmp_path: Path, data: bytes, ending: str) -> None:
    file = tmp_path / f"some{ending}"
    file.write_bytes(data)
    rows, messages = score(file)
    assert len(messages) <= 1
    if messages:
        assert rows == 0
        assert messages[0].strip() and "Traceback" not in messages[0] and "\n" not in messages[0], messages[0]
