"""A hundred files that are not what they seem, of the kinds that a folder of data has sooner or later."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd

HEADER = "a,b\n"
GOOD = "a,b\n1.5,2.5\n3.5,4.5\n"
ROWS = 2
"""Of the good one."""
BOMB_BYTES = 2**31
"""Unpacked, of what is small when packed."""
LONG_LINE = 10 * 2**20


def tables() -> dict[str, bytes]:
    """CSV files for a model of the columns a and b, by name; each is wrong, or at the edge of it."""
    good = GOOD.encode()
    return {
        "empty.csv": b"",
        "newline.csv": b"\n",
        "newlines.csv": b"\n\r\n\n",
        "blanks.csv": b"   \n  \n",
        "header-only.csv": HEADER.encode(),
        "header-without-newline.csv": HEADER.strip().encode(),
        "bom.csv": b"\xef\xbb\xbf" + good,
        "bom-only.csv": b"\xef\xbb\xbf",
        "two-boms.csv": b"\xef\xbb\xbf\xef\xbb\xbf" + good,
        "utf-16.csv": GOOD.encode("utf-16"),
        "utf-16-without-bom.csv": GOOD.encode("utf-16-le"),
        "utf-32.csv": GOOD.encode("utf-32"),
        "latin-1.csv": "a,b\n1.5,2.5\n\xe9,4\n".encode("latin-1"),
        "cp1252.csv": b"a,b\n\x80,2\n",
        "ebcdic.csv": GOOD.encode("cp500"),
        "broken-utf-8.csv": b"a,b\n1,\xff\xfe\n",
        "surrogate.csv": b"a,b\n1,\xed\xa0\x80\n",
        "overlong.csv": b"a,b\n1,\xc0\xaf\n",
        "nul.csv": b"a,b\n1,2\x00\n",
        "nuls.csv": bytes(1000),
        "nul-in-header.csv": b"a\x00,b\n1,2\n",
        "controls.csv": b"a,b\n\x01,\x02\n",
        "escape-codes.csv": b"a,b\n\x1b[31m1,2\n",
        "random.csv": bytes((i * 7919 + i * i) % 256 for i in range(10_000)),
        "long-line.csv": HEADER.encode() + b"1" * LONG_LINE + b",2\n",
        "long-line-without-newline.csv": b"x" * LONG_LINE,
        "long-quoted.csv": HEADER.encode() + b'"' + b"y" * LONG_LINE + b'",2\n',
        "open-quote.csv": b'a,b\n"1,2\n3,4\n',
        "open-quote-at-end.csv": b'a,b\n1,2\n"3',
        "quote-in-field.csv": b'a,b\n1"2,3\n',
        "quotes.csv": b'"""""""\n',
        "ragged-long.csv": b"a,b\n1,2,3\n4,5\n",
        "ragged-short.csv": b"a,b\n1\n4,5\n",
        "ragged-later.csv": b"a,b\n" + b"1,2\n" * 5000 + b"1,2,3,4\n",
        "duplicate-header.csv": b"a,a\n1,2\n",
        "duplicate-of-b.csv": b"a,b,b\n1,2,3\n",
        "case.csv": b"A,B\n1,2\n",
        "spaces-in-header.csv": b" a , b \n1,2\n",
        "no-header.csv": b"1,2\n3,4\n",
        "header-twice.csv": b"a,b\na,b\n1,2\n",
        "missing-column.csv": b"a\n1\n",
        "no-column.csv": b"x,y\n1,2\n",
        "empty-names.csv": b",\n1,2\n",
        "thousand-columns.csv": ",".join(["a", "b", *(f"c{i}" for i in range(1000))]).encode()
        + b"\n1,2"
        + b",3" * 1000,
        "hundred-thousand-columns.csv": b"a" + b",a" * 100_000 + b"\n",
        "semicolons.csv": b"a;b\n1;2\n",
        "tabs.csv": b"a\tb\n1\t2\n",
        "decimal-commas.csv": b'a,b\n"1,5","2,5"\n',
        "texts.csv": b"a,b\none,two\n",
        "dates.csv": b"a,b\n2026-01-01,2026-13-45\n",
        "booleans.csv": b"a,b\ntrue,false\n",
        "nan.csv": b"a,b\nnan,NaN\n",
        "missing.csv": b"a,b\n,\n,\n",
        "infinite.csv": b"a,b\ninf,-inf\n",
        "huge-numbers.csv": b"a,b\n1e400,-1e400\n",
        "tiny-numbers.csv": b"a,b\n1e-400,5e-324\n",
        "long-integers.csv": b"a,b\n" + b"9" * 400 + b"," + b"9" * 25 + b"\n",
        "hexadecimal.csv": b"a,b\n0x10,0b1\n",
        "underscores.csv": b"a,b\n1_000,2\n",
        "arabic-digits.csv": "a,b\n\u0661,\u0662\n".encode(),
        "fullwidth-digits.csv": "a,b\n\uff11,\uff12\n".encode(),
        "formula.csv": b"a,b\n=1+1,@SUM(1)\n",
        "carriage-returns.csv": b"a,b\r1,2\r3,4\r",
        "mixed-line-ends.csv": b"a,b\r\n1,2\n3,4\r5,6\n",
        "form-feed.csv": b"a,b\n1,2\x0c3,4\n",
        "ctrl-z.csv": good + b"\x1a",
        "line-separators.csv": "a,b\n1,2\u20283,4\u2029\n".encode(),
        "comment.csv": b"# a comment\na,b\n1,2\n",
        "html.csv": b"<!doctype html><html><body>404 Not Found</body></html>",
        "xml.csv": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "json.csv": b'{"a": 1, "b": 2}',
        "git-lfs.csv": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        "pickle.csv": b"\x80\x04\x95cos\nsystem\n(S'touch /tmp/poisoned'\ntR.",
        "elf.csv": b"\x7fELF" + bytes(100),
        "zip.csv": b"PK\x03\x04" + bytes(100),
        "parquet.csv": parquet(),
        "gzip.csv": gzip.compress(good),
        "plain.csv.gz": good,
        "truncated.csv.gz": gzip.compress(good * 1000)[:-20],
        "wrong-checksum.csv.gz": gzip.compress(good)[:-8] + bytes(8),
        "trailing.csv.gz": gzip.compress(good) + b"garbage",
        "empty.csv.gz": b"",
        "of-nothing.csv.gz": gzip.compress(b""),
        "twice.csv.gz": gzip.compress(gzip.compress(good)),
        "bomb.csv.gz": bomb(),
        "zero-rows.parquet": parquet(rows=0),
        "truncated.parquet": parquet()[:-10],
        "half.parquet": parquet()[: len(parquet()) // 2],
        "magic-only.parquet": b"PAR1PAR1",
        "magic-and-length.parquet": b"PAR1" + struct.pack("<I", 2**31 - 1) + b"PAR1",
        "empty.parquet": b"",
        "csv.parquet": good,
        "flipped.parquet": flipped(parquet()),
        "no-columns.parquet": parquet(columns=()),
        "other-columns.parquet": parquet(columns=("x", "y")),
        "texts.parquet": parquet(value="one"),
        "nested.parquet": parquet(value=[1.0, 2.0]),
        "empty.jsonl": b"",
        "array.jsonl": b'[{"a": 1, "b": 2}]',
        "half.jsonl": b'{"a": 1, "b": 2}\n{"a": 1,',
        "deep.jsonl": b"[" * 100_000,
        "numbers.jsonl": b"1\n2\n",
        "nan.jsonl": b'{"a": NaN, "b": Infinity}\n',
        "duplicate-keys.jsonl": b'{"a": 1, "a": 2, "b": 3}\n',
        "no-ending": good,
        "unknown.xyz": good,
        "x" * 251 + ".csv": b"a\n1\n",
    }


def images() -> dict[str, bytes]:
    """PNG files that are none, or are more than they seem."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(b"".join(b"\x00" + bytes(12) for _ in range(4))))
    end = _chunk(b"IEND", b"")
    magic = b"\x89PNG\r\n\x1a\n"
    huge = _chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    whole = magic + header + pixels + end
    return {
        "empty.png": b"",
        "magic.png": magic,
        "text.png": b"not an image",
        "truncated.png": whole[:-20],
        "no-end.png": magic + header + pixels,
        "no-pixels.png": magic + header + end,
        "wrong-checksum.png": whole.replace(pixels[-4:], bytes(4)),
        "zero-size.png": magic + _chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)) + pixels + end,
        "pixel-bomb.png": magic + huge + _chunk(b"IDAT", zlib.compress(bytes(10 * 2**20), 9)) + end,
        "text-bomb.png": magic + header + _chunk(b"zTXt", b"k\x00\x00" + zlib.compress(bytes(2**27), 9)) + pixels + end,
        "jpeg.png": b"\xff\xd8\xff\xe0" + bytes(100),
    }


def odd_places(folder: Path) -> dict[str, Callable[[], None]]:
    """What is no plain file, by name: what makes it."""
    return {
        "fifo.csv": lambda: os.mkfifo(folder / "fifo.csv"),
        "socket.csv": lambda: _socket(folder / "socket.csv"),
        "dangling.csv": lambda: (folder / "dangling.csv").symlink_to("nowhere"),
        "loop.csv": lambda: (folder / "loop.csv").symlink_to("loop.csv"),
        "folder.csv": lambda: (folder / "folder.csv").mkdir(),
        "back": lambda: (folder / "back").symlink_to(folder),
        "device.csv": lambda: (folder / "device.csv").symlink_to("/dev/zero"),
        "deep": lambda: _deep(folder / "deep"),
        "not unicode": lambda: (Path(os.fsdecode(os.fsencode(folder) + b"/bad-\xff-name.csv"))).write_text(GOOD),
        "newline in name": lambda: (folder / "new\nline.csv").write_text(GOOD),
    }


def parquet(columns: tuple[str, ...] = ("a", "b"), rows: int = 3, value: object = 1.0) -> bytes:
    stream = io.BytesIO()
    pd.DataFrame({name: [value] * rows for name in columns}).to_parquet(stream)
    return stream.getvalue()


def flipped(data: bytes) -> bytes:
    """With a bit changed every now and then."""
    changed = bytearray(data)
    for at in range(10, len(changed) - 10, 17):
        changed[at] ^= 0x10
    return bytes(changed)


def bomb() -> bytes:
    """Two gigabytes of rows in two megabytes."""
    packer, row = zlib.compressobj(9, wbits=31), b"1,2\n" * 2**18
    pieces = [packer.compress(HEADER.encode())]
    pieces += [packer.compress(row) for _ in range(BOMB_BYTES // len(row))]
    return b"".join([*pieces, packer.flush()])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _socket(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


def _deep(folder: Path) -> None:
    """Folders as deep as a path may be long."""
    path = folder
    while len(str(path)) < 3000:
        path = path / ("d" * 100)
    path.mkdir(parents=True)
    (path / "deep.csv").write_text(GOOD)
