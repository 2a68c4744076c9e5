"""Large files in pieces: which, and how much of a mini-batch each fills."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..blocks.settings import ModelSettings
from ..scoring.endings import TEXT, ending
from ..scoring.errors import StorageFailed
from ..scoring.items import Item
from ..scoring.lookahead import map_ahead
from ..scoring.splitting import Target, split, splittable, why_whole
from ..scoring.storage import Folder

_SCANNERS = 4

Parts = tuple[list[tuple[Item, int]], str | None]
"""A file's pieces, or the file itself, each with how much of a mini-batch it fills; and why it was not split."""


def split_all(items: Iterable[Item], folders: list[Folder], settings: ModelSettings) -> Iterator[Parts]:
    """Each file's parts, in order, for mini-batches given in bytes or rows; several files are read at once."""
    target = Target(size=settings.batch_bytes, rows=settings.batch_rows)
    return map_ahead(lambda item: _split(item, folders[item.source], target), items, _SCANNERS, 2 * _SCANNERS)


def _split(item: Item, folder: Folder, target: Target) -> Parts:
    size = item.size or 0
    if target.size is not None and size <= target.size:
        return [(item, size)], None
    if not splittable(item.path):
        reason = why_whole(item.path)
        # A compressed table has rows that nobody has counted; an image or a text counts as one.
        load = size if target.size is not None else target.rows if reason and target.rows else 1
        return [(item, load)], f"{item.name} stays in one mini-batch: {reason}" if reason else None
    try:
        pieces = split(folder, item.path, item.size, target)
    except StorageFailed:
        raise
    except Exception:  # whatever is wrong with the file is found, and counted, when it is scored
        pieces = None
    if not pieces:
        return [(item, target.size or target.rows or 1)], None
    rows = sum(piece.rows for piece in pieces)
    if len(pieces) == 1:
        return [(item, rows)], None
    text = ending(item.path) in TEXT
    cut = [
        replace(
            item,
            piece=piece,
            size=piece.header + piece.end - piece.start if text else size * piece.rows // rows,
            file_size=item.size,
        )
        for piece in pieces
    ]
    return [
        (part, part.size or 0 if target.size is not None else piece.rows)
        for part, piece in zip(cut, pieces, strict=True)
    ], None
