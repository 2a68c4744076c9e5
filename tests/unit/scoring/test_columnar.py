"""Parquet and Arrow files: where they are cut, and what a run of their rows is when it is a file of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_batch.scoring.columnar import Part, balanced, opened
from prefect_batch.scoring.csv_records import NotSplittable
from prefect_batch.scoring.storage import Folder

ROWS = 1000


def a_table(rows: int = ROWS) -> pa.Table:
    numbers = range(rows)
    frame = pd.DataFrame({"number": numbers, "when": pd.to_datetime([f"{1900 + n}-01-01" for n in numbers])})
    table = pa.Table.from_pandas(frame)
    table = table.append_column("kind", pa.array(["abc"[n % 3] for n in numbers]).dictionary_encode())
    table = table.append_column("list", pa.array([[{"x": n, "y": [str(n)] * (n % 3)}] * (n % 4) for n in numbers]))
    table = table.append_column("none", pa.nulls(rows))
    return table.append_column("text", pa.array([None if n % 7 == 0 else "text" * (n % 5) for n in numbers]))


def write_parquet(table: pa.Table, path: Path) -> None:
    with pq.ParquetWriter(path, table.schema) as writer:
        for start, end in ((0, 0), (0, 300), (300, 301), (301, 301), (301, 1000)):
            writer.write_table(table.slice(start, end - start), row_group_size=1000)


def write_arrow(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        for start, end in ((0, 300), (300, 301), (301, 1000)):
            writer.write_table(table.slice(start, end - start))
            writer.write_batch(table.to_batches()[0].slice(0, 0))


def write_feather(table: pa.Table, path: Path) -> None:
    pyarrow.feather.write_feather(table, path, compression="lz4", chunksize=300)


def read(path: Path) -> pa.Table:
    return pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path).read_all()


Write = Callable[[pa.Table, Path], None]
FORMATS = [("x.parquet", write_parquet), ("x.arrow", write_arrow), ("x.feather", write_feather)]


@pytest.fixture(params=["local", "remote"])
def folder(request: Any, tmp_path: Path) -> Any:
    with contextlib.ExitStack() as stack:
        yield Folder(str(tmp_path / "in") if request.param == "local" else f"memory://{tmp_path}").make()
        stack.close()


@pytest.mark.parametrize(("name", "write"), FORMATS)
def test_any_run_of_rows_is_the_same_table(folder: Folder, tmp_path: Path, name: str, write: Write) -> None:
    write(a_table(), tmp_path / name)
    whole = read(tmp_path / name)
    folder.upload(tmp_path / name, name)
    with opened(folder, name) as table:
        assert sum(part.rows for part in table.parts(1000)) == ROWS
        for start, end in ((0, ROWS), (0, 0), (299, 302), (300, 300), (1, 2), (999, 1000), (250, 750)):
            out = tmp_path / f"out-{name}"
            table.write(start, end, out)
            piece = read(out)
            piece.validate(full=True)
            assert piece.schema.equals(whole.schema, check_metadata=True)
            assert piece.to_pylist() == whole.slice(start, end - start).to_pylist()
            if start == end:
                continue  # the categories of no rows are no matter
            pd.testing.assert_frame_equal(
                piece.to_pandas().reset_index(drop=True),
                whole.slice(start, end - start).to_pandas().reset_index(drop=True),
            )
        with pytest.raises(NotSplittable):
            table.write(990, ROWS + 1, tmp_path / "out")


@pytest.mark.parametrize("codec", ["none", "snappy"])
def test_a_large_row_group_is_read_in_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str) -> None:
    monkeypatch.setattr("prefect_batch.scoring.columnar._HELD", 100)
    monkeypatch.setattr("prefect_batch.scoring.columnar._BATCH", 100)
    pq.write_table(a_table(), tmp_path / "x.parquet", compression=codec)
    with opened(Folder(str(tmp_path)), "x.parquet") as table:
        table.write(333, 777, tmp_path / "out.parquet")
    assert read(tmp_path / "out.parquet").to_pylist() == a_table().slice(333, 444).to_pylist()


def test_only_the_row_groups_and_batches_of_the_piece_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 400_000
    table = pa.table({"flag": [True] * rows, "number": range(rows), "text": [f"{n:0100}" for n in range(rows)]})
    folder = Folder(f"memory://{tmp_path}")
    pq.write_table(table, tmp_path / "x.parquet", compression="none", use_dictionary=False, row_group_size=rows // 10)
    pyarrow.feather.write_feather(table, tmp_path / "x.arrow", compression="uncompressed", chunksize=rows // 10)
    travelled = 0
    read = Folder.read

    def counted(self: Folder, name: str, start: int | None = None, end: int | None = None) -> bytes:
        nonlocal travelled
        data = read(self, name, start, end)
        travelled += len(data)
        return data

    monkeypatch.setattr(Folder, "read", counted)
    for name in ("x.parquet", "x.arrow"):
        size = (tmp_path / name).stat().st_size
        folder.upload(tmp_path / name, name)
        travelled = 0
        with opened(folder, name) as opened_table:
            assert len(opened_table.parts(size)) == 10
            assert travelled < size * 0.1
            opened_table.write(rows // 10 * 4, rows // 10 * 5, tmp_path / "out")
            assert travelled < size * 0.21


def test_no_table(folder: Folder, tmp_path: Path) -> None:
    with pa.ipc.new_stream(tmp_path / "stream.arrow", a_table().schema) as writer:
        writer.write_table(a_table())
    pyarrow.feather.write_feather(pa.table({"a": [1]}), tmp_path / "v1.feather", version=1)
    write_parquet(a_table(), tmp_path / "whole.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-10])
    (tmp_path / "encrypted.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-4] + b"PARE")
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    (tmp_path / "magic.parquet").write_text("PAR1")
    (tmp_path / "text.arrow").write_text("a,b\n1,2\n")
    (tmp_path / "short.arrow").write_text("a")
    names = sorted(path.name for path in tmp_path.iterdir() if path.is_file() and path.name != "whole.parquet")
    for name in names:
        folder.upload(tmp_path / name, name)
        with pytest.raises(NotSplittable), opened(folder, name):
            pass


PARTS = st.lists(st.builds(Part, st.integers(0, 50), st.integers(0, 300)), max_size=30)


@given(PARTS, st.integers(1, 400))
def test_balanced_pieces_are_no_larger_than_the_target(parts: list[Part], size: int) -> None:
    borders = balanced(parts, size)
    assert borders == sorted(set(borders))
    rows = sum(part.rows for part in parts)
    assert (borders[0], borders[-1]) == (0, rows) if rows else borders == []
    weights = [part.size / part.rows for part in parts for _ in range(part.rows)]
    for start, end in pairwise(borders):
        assert end - start == 1 or sum(weights[start:end]) <= size + max(weights)


@pytest.mark.parametrize(
    ("sizes", "size", "expected"),
    [
        ([130], 64, [43, 43, 44]),
        ([20] * 10, 64, [60, 40, 60, 40]),
        ([40, 40, 40], 64, [40, 40, 40]),
        ([10] * 13, 64, [40, 50, 40]),
        ([60, 10, 10, 60], 64, [60, 20, 60]),
        ([10, 130, 10], 64, [53, 43, 54]),
        ([50], 64, [50]),
    ],
)
def test_balanced(sizes: list[int], size: int, expected: list[int]) -> None:
    borders = balanced([Part(each, each) for each in sizes], size)
    assert [b - a for a, b in pairwise(borders)] == expected
