"""Row groups: their borders follow from the rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_batch.flows import row_groups
from prefect_batch.flows.row_groups import regroup


@pytest.fixture(autouse=True, scope="module")
def small() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_groups, "ROWS", 5)
        patch.setattr(row_groups, "BYTES", 100)
        yield


def lengths(values: list[Any], kind: pa.DataType | None = None) -> list[int]:
    return [len(group) for group in regroup([pa.table({"a": pa.array(values, kind)})])]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["x" * 20] * 12, pa.string(), [5, 5, 2]),
        (["x" * 34] * 5, pa.large_string(), [2, 2, 1]),
        (["x" * 200] * 3, pa.binary(), [1, 1, 1]),
        (["x", "x" * 500, "x"], pa.string(), [1, 1, 1]),
        ([[1.0] * 6] * 5, pa.list_(pa.float64()), [2, 2, 1]),
        ([[1.0] * 6] * 5, pa.list_(pa.float64(), 6), [2, 2, 1]),
        ([None, [1.0] * 6, None, [1.0] * 7], pa.list_(pa.float64()), [3, 1]),
        ([{"a": "x" * 30, "b": [1, 2]}] * 5, None, [2, 2, 1]),
        ([None] * 7, pa.null(), [5, 2]),
        ([], pa.string(), []),
    ],
)
def test_a_group_is_full_by_rows_or_by_bytes(values: list[Any], kind: pa.DataType, expected: list[int]) -> None:
    assert lengths(values, kind) == expected


@given(
    st.lists(st.tuples(st.text(max_size=150), st.lists(st.integers(0, 9), max_size=15)), max_size=40),
    st.lists(st.integers(0, 7), min_size=1),
)
def test_groups_do_not_depend_on_the_cut(values: list[tuple[str, list[int]]], sizes: list[int]) -> None:
    table = pa.table(
        {
            "t": pa.array([t for t, _ in values], pa.string()),
            "l": pa.array([n for _, n in values], pa.list_(pa.int64())),
        }
    )
    pieces, start = list[Any](), 0
    while start < len(table):
        for size in [*sizes, 1]:
            pieces.append(table.slice(start, size))
            start += size
    whole = list(regroup([table]))
    assert list(regroup(pieces)) == whole
    assert not whole or pa.concat_tables(whole) == table
    assert all(len(group) <= 5 for group in whole)
