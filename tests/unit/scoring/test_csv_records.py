"""Row ends of CSV and JSON Lines, against pandas and against a plain state machine, with blocks of every size."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prefect_batch.scoring.csv_records import NotSplittable, RowScanner, csv_scanner, jsonl_scanner, sniff_delimiter

BLOCKS = st.sampled_from([1, 2, 7, 64, 1000])


def scan(scanner: RowScanner, data: bytes, block: int) -> list[int]:
    found = [scanner.feed(data[at : at + block]) for at in range(0, len(data), block)]
    return np.concatenate([*found, scanner.finish()]).tolist()


def machine(data: bytes, delimiter: int) -> list[int] | None:
    """pandas' tokenizer, state by state; None at a lone carriage return."""
    blanks = {0x20, 0x09} - {delimiter}
    ends: list[int] = []
    state, blank = "start", True
    for at, byte in enumerate(data):
        if state == "quoted":
            state = "quote" if byte == 0x22 else "quoted"
        elif byte == 0x0A:
            if not blank:
                ends.append(at + 1)
            state, blank = "start", True
        elif byte == 0x0D:
            if data[at + 1 : at + 2] != b"\n":
                return None
        else:
            blank = blank and byte in blanks
            if byte == 0x22 and state in ("start", "quote"):
                state = "quoted"
            else:
                state = "start" if byte == delimiter else "field"
    return ends if blank else [*ends, len(data)]


@given(st.lists(st.sampled_from(list(b'"",,\n\n\r; \tab')), max_size=60).map(bytes), BLOCKS, st.sampled_from(b",;\t"))
@settings(max_examples=1500, deadline=None)
@example(b'a"b,"c\nd"\n', 7, 0x2C)
@example(b'"a"b"c\n"d\n', 7, 0x2C)
@example(b' "a\n"b\n', 7, 0x2C)
@example(b'"a\r', 7, 0x2C)
def test_any_bytes(data: bytes, block: int, delimiter: int) -> None:
    scanner = csv_scanner(bytes([delimiter]))
    expected = machine(data, delimiter)
    if expected is None:
        with pytest.raises(NotSplittable):
            scan(scanner, data, block)
    else:
        assert scan(scanner, data, block) == expected


FIELDS = st.one_of(
    st.text("ab '0.", max_size=5),
    st.text('ab"', min_size=1, max_size=4).map(lambda text: "x" + text),  # quotes inside an unquoted field
    st.text('ab", \r\n', max_size=8).map(lambda text: '"' + text.replace('"', '""') + '"'),
    st.text('ab"', max_size=4).map(lambda text: '"q"x' + text),  # text after a closing quote
)
EMPTY_LINES = st.sampled_from(["", "", "", "", " ", "\t ", "  "])


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    columns = draw(st.integers(1, 3))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [",".join(['"h\n0"', "h1", "h2"][:columns])]
    for _ in range(draw(st.integers(0, 8))):
        fields = draw(st.lists(FIELDS, min_size=columns, max_size=columns))
        lines += [line for line in [draw(EMPTY_LINES)] if line]
        lines.append(",".join(fields))
    text = newline.join(lines) + draw(st.sampled_from(["", newline, newline * 3, newline + "  "]))
    return text.encode()


@given(tables(), BLOCKS)
@settings(max_examples=800, deadline=None)
def test_each_record_is_a_row_of_pandas(data: bytes, block: int) -> None:
    whole = read(data)
    ends = scan(csv_scanner(b","), data, block)
    assert len(ends) - 1 == len(whole)
    for index, (start, end) in enumerate(pairwise(ends)):
        row = read(data[: ends[0]] + data[start:end])
        assert row.to_numpy().tolist() == whole.iloc[index : index + 1].to_numpy().tolist()


def read(data: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, index_col=False)


@given(st.lists(st.sampled_from([b'{"a": 1}', b'"x"', b"", b" ", b"\t", b"\n", b"\r\n"]), max_size=20), BLOCKS)
@settings(max_examples=300, deadline=None)
def test_json_lines(parts: list[bytes], block: int) -> None:
    data = b"".join(parts)
    at, expected = 0, []
    for line in data.splitlines(keepends=True):
        at += len(line)
        expected += [at] if line.strip() else []
    assert scan(jsonl_scanner(), data, block) == expected


def test_a_return_within_quotes_is_text_and_a_lone_one_refuses() -> None:
    assert scan(csv_scanner(b","), b'a\n"x\ry"\n"\r"', 7) == [2, 8, 11]
    for data in (b"a\rb\r", b"a\n1\r2\n", b"a\n1\r\r\n"):
        with pytest.raises(NotSplittable):
            scan(csv_scanner(b","), data, 7)
    with pytest.raises(NotSplittable):
        scan(jsonl_scanner(), b"1\r2\n", 7)


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        (b"a,b\n", b","),
        (b"a;b\n1,5;2,5\n", b";"),
        (b"a\tb\n", b"\t"),
        (b"a|b", b"|"),
        (b'"a;b;c",d\n', b","),
        (b'\n\n"x\n,,,";b;c\n', b";"),
        (b'\xef\xbb\xbf"a,b,c";d\n', b";"),
        (b'a;"x\ny,";c\n', b";"),
        (b"one\n1\n", b","),
        (b"", b","),
    ],
)
def test_delimiter(header: bytes, delimiter: bytes) -> None:
    assert sniff_delimiter(header) == delimiter
