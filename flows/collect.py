"""Collecting: the committed parts, in plan order, become the output, errors.jsonl and summary.json."""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import IO, Any

import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

from ..scoring import rows
from ..scoring.errors import AlreadyExists, BatchError
from ..scoring.parts import Located, Outcome
from ..scoring.storage import Folder

ERRORS = "errors.jsonl"
ROW_GROUP = 65_536
pa: Any = pyarrow
pq: Any = pyarrow.parquet


@contextmanager
def claim(output: Folder, file_name: str, job_id: str) -> Generator[bool]:
    """Keep other jobs from the same output file while this one runs. Raises AlreadyExists.

    A job that was killed leaves its claim, and finds it again as its own when it is resumed. The block is told whether
    that is so: then the output may be there already, and be the job's own.
    """
    marker = f".{file_name}.job"
    holder, found = _holder(output, marker, job_id)
    if holder != job_id:
        raise AlreadyExists(
            f"outputs: job {holder} is writing {output.file_url(file_name)}: name another output folder "
            f"(or delete {output.file_url(marker)} if that job is gone)"
        )
    try:
        yield found
    finally:
        output.remove(marker)


def _holder(output: Folder, marker: str, job_id: str) -> tuple[str, bool]:
    """The job that the marker names, ours if nobody was faster, and whether the marker was there."""
    while True:
        try:
            output.create(marker, job_id.encode())
        except FileExistsError:
            try:
                return output.read(marker).decode(), True
            except FileNotFoundError:
                continue  # its holder ended between the two
        return job_id, False


def in_order(ledger: dict[int, Located], mini_batches: int) -> list[Located]:
    """The ledger's entries in plan order. Raises BatchError when one is missing: then the job is not done."""
    missing = [number for number in range(mini_batches) if number not in ledger]
    if missing:
        raise BatchError(f"{len(missing)} of {mini_batches} mini-batches have no committed part (first: {missing[0]})")
    return [ledger[number] for number in range(mini_batches)]


def write_output(job: Folder, located: list[Located], output: Folder, name: str, rows_format: str) -> str:
    """Write the rows of all parts to one file, in order; returns its URL. Raises AlreadyExists if it is there."""
    try:
        with output.create_stream(name) as stream:
            if rows_format == rows.PARQUET:
                _write_parquet(job, located, stream)
            elif rows_format == rows.CSV:
                _write_csv(job, located, stream)
            else:
                for _, data in _chunks(job, located):
                    stream.write(data)
    except FileExistsError:
        raise AlreadyExists(
            f"outputs: {output.file_url(name)} appeared while the job ran and is not overwritten: "
            "move it away and resume the job"
        ) from None
    return output.file_url(name)


def _chunks(job: Folder, located: list[Located]) -> Iterator[tuple[Outcome, bytes]]:
    """Outcomes that have rows, and the rows, in order. Neighbours in one part are read at once."""
    filled = (at for at in located if at.outcome.rows)
    for name, group in itertools.groupby(filled, key=lambda at: at.name):
        entries = list(group)
        start = min(at.offset for at in entries)
        data = job.read(name, start, max(at.offset + at.outcome.bytes for at in entries))
        for at in entries:
            yield at.outcome, data[at.offset - start : at.offset - start + at.outcome.bytes]


def _write_csv(job: Folder, located: list[Located], stream: IO[bytes]) -> None:
    names = (name for at in located if at.outcome.rows for name in at.outcome.columns or [])
    columns = list(dict.fromkeys(names))
    stream.write(rows.header(columns) if columns else b"")
    for outcome, data in _chunks(job, located):
        same = outcome.columns == columns
        stream.write(data if same else rows.realign(data, outcome.columns or [], columns))


def _write_parquet(job: Folder, located: list[Located], stream: IO[bytes]) -> None:
    """In row groups of a fixed size: the file does not show how the rows were cut into mini-batches."""
    schemas: dict[bytes, Any] = {}
    for _, data in _chunks(job, located):
        schema = pa.ipc.open_stream(data).schema
        schemas.setdefault(schema.serialize().to_pybytes(), schema)
    common = _common(list(schemas.values()))
    with pq.ParquetWriter(stream, common) as writer:
        held: list[Any] = []
        count = 0
        for _, data in _chunks(job, located):
            held.append(_conform(pa.ipc.open_stream(data).read_all(), common))
            count += len(held[-1])
            if count >= ROW_GROUP:
                held = _write_groups(writer, held)
                count = len(held[0])
        if held:
            writer.write_table(pa.concat_tables(held).combine_chunks(), row_group_size=ROW_GROUP)


def _write_groups(writer: Any, held: list[Any]) -> list[Any]:
    table = pa.concat_tables(held).combine_chunks()
    whole = len(table) // ROW_GROUP * ROW_GROUP
    writer.write_table(table.slice(0, whole), row_group_size=ROW_GROUP)
    return [table.slice(whole)]


def _common(schemas: list[Any]) -> Any:
    """One schema for all. A column of types that have nothing in common becomes text: the rows are committed, and a
    job must not fail for them at its end."""
    fields: dict[str, list[Any]] = {}
    for schema in schemas:
        for field in schema:
            fields.setdefault(field.name, []).append(pa.schema([field]))
    return pa.schema([_field(name, alone) for name, alone in fields.items()])


def _field(name: str, alone: list[Any]) -> Any:
    try:
        return pa.unify_schemas(alone, promote_options="permissive").field(0)
    except pa.ArrowTypeError:
        return pa.field(name, pa.string())


def _conform(table: Any, schema: Any) -> Any:
    return pa.table([_column(table, field) for field in schema], schema=schema)


def _column(table: Any, field: Any) -> Any:
    if field.name not in table.column_names:
        return pa.nulls(len(table), field.type)
    column = table[field.name]
    try:
        return column.cast(field.type, safe=False)  # safe would refuse whole numbers above 2^53 as double
    except pa.ArrowNotImplementedError:  # a list as text
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], field.type)


def write_errors(job: Folder, located: list[Located]) -> int:
    """Write errors.jsonl, one line for each failed item, in plan order; returns how many."""
    count = 0
    job.remove(ERRORS)  # of an earlier run of the job
    with job.create_stream(ERRORS) as stream:
        for at in located:
            for line in error_lines(at.outcome):
                stream.write(json.dumps(line).encode() + b"\n")
                count += 1
    return count


def error_lines(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """One mini-batch's failed items: item, mini_batch, attempt, error_type, message, traceback."""
    for error in outcome.errors:
        for item in error.items:
            yield {
                "item": item,
                "mini_batch": outcome.mini_batch,
                "attempt": error.attempt,
                "error_type": error.error_type,
                "message": error.message,
                "traceback": error.traceback,
            }
