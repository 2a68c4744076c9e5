"""One large file in pieces: together exactly the rows of the whole, each numbered right, in bounded memory."""

from __future__ import annotations

import functools
import io
import json
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_servers import S3Bucket

from prefect_batch.scoring import splitting
from prefect_batch.scoring.errors import Unreadable
from prefect_batch.scoring.items import Piece
from prefect_batch.scoring.splitting import Target, cut, split, splittable, why_whole
from prefect_batch.scoring.storage import Folder

TARGETS = st.one_of(
    st.integers(1, 80).map(lambda size: Target(size=size)), st.integers(1, 6).map(lambda rows: Target(rows=rows))
)


@pytest.fixture(autouse=True)
def remote() -> Iterator[Folder]:
    """A storage whose files have no path here."""
    folder = Folder(f"memory://{uuid4().hex}")
    yield folder
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "_READ", 10)
    monkeypatch.setattr(splitting, "_SCAN", 7)


def cut_all(folder: Folder, name: str, target: Target, size: int | None = None) -> list[tuple[Piece, bytes]] | None:
    """The pieces of a file and what they are as files; checks what holds for all of them."""
    size = size or folder.stat(name).size or 0
    pieces = split(folder, name, size, target)
    if pieces is None:
        return None
    assert pieces[0].first_row == 0
    for piece, following in pairwise(pieces):
        assert following.first_row == piece.first_row + piece.rows
        assert following.start == piece.end
    assert all(piece.rows > 0 for piece in pieces) or len(pieces) == 1
    if target.rows is not None:
        assert all(piece.rows == target.rows for piece in pieces[:-1])
        assert pieces[-1].rows <= target.rows
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / name
        found: list[tuple[Piece, bytes]] = []
        for piece in pieces:
            cut(folder, name, piece, out)
            found.append((piece, out.read_bytes()))
        return found


def read_csv(data: bytes, delimiter: str = ",") -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(data), sep=delimiter, dtype=str, keep_default_na=False, index_col=False)


FIELDS = st.one_of(
    st.text("ab '0.", max_size=5),
    st.text('ab"', min_size=1, max_size=4).map(lambda text: "x" + text),
    st.text('ab"; ,\r\n', max_size=8).map(lambda text: '"' + text.replace('"', '""') + '"'),
    st.text('ab"', max_size=4).map(lambda text: '"q"x' + text),
)


@st.composite
def csv_files(draw: st.DrawFn) -> tuple[bytes, str]:
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [draw(st.sampled_from(["", newline, "  " + newline])) + delimiter.join(['"h\n""0"""', "h1", "h2"])]
    for _ in range(draw(st.integers(0, 12))):
        lines += draw(st.sampled_from([[], [], [""], ["  "]]))
        lines.append(delimiter.join(draw(st.lists(FIELDS, min_size=3, max_size=3))))
    text = newline.join(lines) + draw(st.sampled_from(["", newline, newline * 3, newline + "  "]))
    fields = text.replace(",", "+") if delimiter != "," else text  # commas within fields mean nothing to these readers
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + fields.encode(), delimiter


@pytest.mark.usefixtures("small_blocks")
def test_pieces_of_any_csv_are_the_rows_of_the_whole(remote: Folder) -> None:
    @given(csv_files(), TARGETS)
    @settings(max_examples=100, deadline=None)
    def check(file: tuple[bytes, str], target: Target) -> None:
        data, delimiter = file
        remote.put("x.csv", data)
        found = cut_all(remote, "x.csv", target)
        if found is None:
            assert target.size is not None and len(data) <= target.size
            return
        frames = [read_csv(text, delimiter) for _, text in found]
        assert [len(frame) for frame in frames] == [piece.rows for piece, _ in found]
        pd.testing.assert_frame_equal(pd.concat(frames, ignore_index=True), read_csv(data, delimiter))

    check()


@pytest.mark.usefixtures("small_blocks")
def test_pieces_of_any_json_lines_are_the_rows_of_the_whole(remote: Folder) -> None:
    lines = st.one_of(st.integers(0, 10**9).map(lambda n: json.dumps({"a": n})), st.sampled_from(["", "  "]))

    @given(st.lists(lines, min_size=1, max_size=20), st.sampled_from(["\n", "\r\n"]), st.booleans(), TARGETS)
    @settings(max_examples=100, deadline=None)
    def check(lines: list[str], newline: str, ends: bool, target: Target) -> None:
        data = (newline.join(lines) + newline * ends).encode()
        remote.put("x.jsonl", data)
        found = cut_all(remote, "x.jsonl", target) if data else []
        if found is None:
            assert not data.strip() or len(data) <= (target.size or 0)
            return
        rows = [[json.loads(line) for line in text.splitlines() if line.strip()] for _, text in found]
        assert [len(each) for each in rows] == [piece.rows for piece, _ in found]
        assert [row for each in rows for row in each] == [json.loads(line) for line in lines if line.strip()]

    check()


@pytest.mark.parametrize("target", [Target(size=size) for size in (1, 30_000, 100_000, 654_321, 2_000_000)])
@pytest.mark.parametrize("number", range(4))
def test_a_file_with_newlines_in_most_fields(billsum_data: Path, target: Target, number: int) -> None:
    check_billsum(billsum_data, number, target)


@pytest.mark.parametrize("rows", [1, 7, 100, 199, 200, 201])
def test_a_file_with_newlines_in_most_fields_by_rows(billsum_data: Path, rows: int) -> None:
    check_billsum(billsum_data, 0, Target(rows=rows))


def check_billsum(folder: Path, number: int, target: Target) -> None:
    name = f"billsum-{number}.csv"
    whole = pd.read_csv(folder / name)
    found = cut_all(Folder(str(folder)), name, target)
    assert found is not None
    frames = [pd.read_csv(io.BytesIO(text)) for _, text in found]
    assert [len(frame) for frame in frames] == [piece.rows for piece, _ in found]
    pd.testing.assert_frame_equal(pd.concat(frames, ignore_index=True), whole)


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("a.csv", b"h\n", [Piece(2, 2, 0, 0, 2)]),
        ("a.csv", b"h", [Piece(1, 1, 0, 0, 1)]),
        ("a.csv", b"h\n1", [Piece(2, 3, 0, 1, 2)]),
        ("a.CSV", b"h\n1\n2\n3\n", [Piece(2, 6, 0, 2, 2), Piece(6, 8, 2, 1, 2)]),
        ("a.csv", b"h\n1\n2\n\n \n", [Piece(2, 9, 0, 2, 2)]),
        ("a.tsv", b'a,b\tc\n"\t"\t1\n2,"\t\n3\t\n', [Piece(6, 17, 0, 2, 6), Piece(17, 20, 2, 1, 6)]),
        ("a.ndjson", b"1\n2\n3", [Piece(0, 4, 0, 2), Piece(4, 5, 2, 1)]),
        ("a.csv", b"", None),
        ("a.csv", b"\n \n", None),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), None),
        ("a.csv", "a,b\n1,2\n".encode("utf-16-le"), None),
        ("a.csv", "a,b\n1,2\n".encode("utf-32-be"), None),
        ("a.jsonl", '{"a": 1}\n'.encode("utf-16"), None),
        ("a.csv", b"a\r1\r2\r", None),
        ("a.jsonl", b"\n\n", [Piece(0, 2, 0, 0)]),
        ("a.jsonl", b"1\r2\r", None),
        ("a.parquet", b"PAR1 no PAR1", None),
        ("a.arrow", b"FEA1 old FEA1", None),
        ("a.txt", b"1\n2\n3\n", None),
    ],
)
def test_odd_files(remote: Folder, name: str, text: bytes, pieces: list[Piece] | None) -> None:
    remote.put(name, text)
    assert split(remote, name, len(text), Target(rows=2)) == pieces


def test_names() -> None:
    for name in ("a.csv", "b/c.TSV", "a.jsonl", "a.ndjson", "a.parquet", "a.pqt", "a.arrow", "a.feather", "a.b.ipc"):
        assert splittable(name)
        assert why_whole(name) is None
    for name in ("a.csv.gz", "a.txt", "csv", ".csv", "a.png", "a.jsonl.zst", "x.csv/y"):
        assert not splittable(name)
    assert why_whole("a.csv.gz") == "gzip cannot be split"
    assert why_whole("a.JSONL.ZST") == "zstd cannot be split"
    assert why_whole("a.tar.gz") is None
    assert why_whole("a.txt") is None


def test_a_target_is_one_number() -> None:
    for size, rows in ((None, None), (1, 1), (0, None), (None, -1)):
        with pytest.raises(ValueError):
            Target(size, rows)


def test_a_file_within_the_size_is_not_even_read() -> None:
    assert split(Folder("/no/such/folder"), "a.csv", 100, Target(size=100)) is None
    assert split(Folder("/no/such/folder"), "a.csv", None, Target(size=100)) is None


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.feather"])
@pytest.mark.parametrize("size", [64_000, 129_999, 200_000, 50_000])
def test_pieces_are_of_nearly_equal_size(tmp_path: Path, name: str, size: int) -> None:
    frame = pd.DataFrame({"a": range(10_000), "b": [f"{n * 7919 % 10_007:020}" for n in range(10_000)]})
    if name == "a.csv":
        frame.to_csv(tmp_path / name, index=False)
    elif name == "a.jsonl":
        frame.to_json(tmp_path / name, orient="records", lines=True)
    elif name == "a.parquet":
        frame.to_parquet(tmp_path / name, row_group_size=100, compression=None)
    else:
        pyarrow.feather.write_feather(frame, tmp_path / name, compression="uncompressed", chunksize=100)
    total = (tmp_path / name).stat().st_size
    found = cut_all(Folder(str(tmp_path)), name, Target(size=size))
    assert found is not None
    rows = [piece.rows for piece, _ in found]
    assert len(found) in (-(-total // size), -(-total // size) + 1)
    assert max(rows) - min(rows) <= 200


@pytest.mark.parametrize("rows", [99, 300, 301, 1000, 2000])
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_tables(remote: Folder, tmp_path: Path, name: str, rows: int) -> None:
    table = pa.table({"a": range(1000), "b": pa.array(["x", None] * 500).dictionary_encode(), "c": [[{"d": 1}]] * 1000})
    if name == "a.parquet":
        pq.write_table(table, tmp_path / name, row_group_size=300)
    else:
        pyarrow.feather.write_feather(table, tmp_path / name, chunksize=300)
    remote.upload(tmp_path / name, name)
    for folder in (remote, Folder(str(tmp_path))):
        found = cut_all(folder, name, Target(rows=rows))
        assert found is not None
        tables = [read_table(name, data) for _, data in found]
        assert [each.num_rows for each in tables] == [piece.rows for piece, _ in found]
        assert pa.concat_tables(tables).to_pylist() == table.to_pylist()


def read_table(name: str, data: bytes) -> pa.Table:
    stream = io.BytesIO(data)
    return pq.read_table(stream) if name == "a.parquet" else pa.ipc.open_file(stream).read_all()


@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
def test_a_table_without_rows(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"a": pd.Series([], dtype="int64"), "b": pd.Series([], dtype="str")})
    frame.to_parquet(tmp_path / name) if name == "a.parquet" else frame.to_feather(tmp_path / name)
    for target in (Target(rows=5), Target(size=1)):
        found = cut_all(Folder(str(tmp_path)), name, target)
        assert found is not None
        assert [piece for piece, _ in found] == [Piece(0, 0, 0, 0)]
        assert list(read_table(name, found[0][1]).column_names) == ["a", "b"]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.arrow"])
def test_a_file_that_shrank(remote: Folder, tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"a": range(100)})
    for rows in (100, 50):
        part = frame[:rows]
        path = tmp_path / name
        if name == "a.csv":
            part.to_csv(path, index=False)
        else:
            part.to_parquet(path) if name == "a.parquet" else part.to_feather(path)
        remote.upload(path, name)
        if rows == 100:
            size = path.stat().st_size
            pieces = split(remote, name, size, Target(rows=30))
    assert pieces is not None
    for folder in (remote, Folder(str(tmp_path))):
        with pytest.raises(Unreadable, match="changed"):
            cut(folder, name, pieces[-1], tmp_path / "out")
    if name == "a.csv":
        with pytest.raises(Unreadable, match="changed"):
            split(remote, name, size, Target(rows=30))


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.arrow"])
def test_files_in_a_bucket(s3: S3Bucket, tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"a": range(100_000), "b": [f"x{n}\n" for n in range(100_000)]})
    if name == "a.csv":
        frame.to_csv(tmp_path / name, index=False)
    elif name == "a.parquet":
        frame.to_parquet(tmp_path / name, row_group_size=10_000)
    else:
        frame.to_feather(tmp_path / name, chunksize=10_000)
    bucket = Folder(s3.url, s3.options)
    bucket.upload(tmp_path / name, name)
    pieces = split(bucket, name, (tmp_path / name).stat().st_size, Target(rows=35_000))
    assert pieces == split(Folder(str(tmp_path)), name, (tmp_path / name).stat().st_size, Target(rows=35_000))
    assert pieces is not None
    assert [piece.rows for piece in pieces] == [35_000, 35_000, 30_000]
    for piece in pieces:
        cut(bucket, name, piece, tmp_path / "remote")
        cut(Folder(str(tmp_path)), name, piece, tmp_path / "local")
        assert (tmp_path / "remote").read_bytes() == (tmp_path / "local").read_bytes()


def test_a_web_server_without_ranges_leaves_files_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("h\n1\n2\n")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        folder = Folder(f"http://127.0.0.1:{server.server_port}/")
        assert split(folder, "a.csv", 6, Target(rows=1)) is None
        server.shutdown()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        import numpy, pyarrow as pa, pyarrow.parquet as pq
        from prefect_batch.scoring.splitting import Target, cut, split
        from prefect_batch.scoring.storage import Folder

        folder = Path(sys.argv[1])
        rows = b"".join(b'%d,"a ""quoted"" text,\\nof two lines",%d\\n' % (n, n * n) for n in range(20_000))
        with (folder / "a.csv").open("wb") as stream:
            stream.write(b"a,b,c\\n")
            stream.writelines([rows] * 200)
        table = pa.table({str(n): numpy.random.default_rng(n).random(50_000) for n in range(20)})
        with pq.ParquetWriter(folder / "a.parquet", table.schema) as writer:
            for _ in range(25):
                writer.write_table(table)
        for name, limit in (("a.csv", 100), ("a.parquet", 200)):
            size = (folder / name).stat().st_size
            assert size > 170_000_000
            Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
            before = resident("VmRSS")
            pieces = split(Folder(str(folder)), name, size, Target(size=100_000_000))
            for piece in pieces:
                cut(Folder(str(folder)), name, piece, folder / "out")
            grown = (resident("VmHWM") - before) / 1024
            assert grown < limit, (name, grown)  # in MB; of Parquet most is what its allocator keeps for reuse
    """
    helper = """
        def resident(key):
            lines = open("/proc/self/status").read().splitlines()
            return int(next(line for line in lines if line.startswith(key)).split()[1])
    """
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux can forget a peak")
    text = textwrap.dedent(helper) + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", text, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
