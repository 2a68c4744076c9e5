"""The data of a call: what the request names, found, and listed file by file."""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, cast
from urllib.parse import unquote

from fsspec.utils import glob_translate  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from prefect.client.orchestration import SyncPrefectClient
from pydantic import BaseModel, BeforeValidator, Field

from ..blocks.documents import validate
from ..blocks.settings import Document
from ..scoring.errors import BatchError, InvalidDocument, NoItems, NotFound, StorageFailed
from ..scoring.items import Item
from ..scoring.storage import Folder, Stat
from ..scoring.storage_listing import order
from .locations import Location, UriType, locate, may_not_be_read
from .plan import Source

PARAMS = "params"
"""The input that holds a model's literal inputs; every other name holds data."""
_WEB = ("http://", "https://")
_STAR = "[^/]*"
"""What fsspec makes of a star."""
_MOST_FREE = 4
"""Stars of a pattern that may have to be tried in all ways."""
_FEW = 100
"""Files that are sooner asked for one by one than looked for in a listing."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts = Annotated[list[str], BeforeValidator(_listed)]


class DataInput(Document):
    """A pointer to data: one or several places, and which of their files count."""

    path: Texts
    type: UriType | None = None
    mode: str | None = Field(default=None, description="Taken for compatibility; files are always staged.")
    include: Texts = Field(default_factory=list)
    exclude: Texts = Field(default_factory=list)


class Place(BaseModel):
    """A file, or a folder with those of its files that `pattern` (a glob below it) and the filters leave."""

    location: Location
    file: str | None = None
    """Name of the one file; the location is then the folder that it lies in."""
    pattern: str | None = None


class Input(BaseModel):
    """A job's data, found: places in the order of the output, and filters on names relative to each."""

    given: Any
    places: list[Place]
    include: list[str] = Field(default_factory=list)
    exclude: list[str] = Field(default_factory=list)

    @property
    def url(self) -> str:
        """The places, for people."""
        return ", ".join(_shown(place) for place in self.places)

    def sources(self) -> list[Source]:
        """One for each place; their labels are their folders' own names, made unique."""
        if len(self.places) == 1:
            return [Source(reference=self.places[0].location.reference)]
        labels: dict[str, None] = {}
        for place in self.places:
            base = PurePosixPath(place.location.url.rstrip("/")).name or "input"
            labels[next(name for name in _numbered(base) if name not in labels)] = None
        pairs = zip(self.places, labels, strict=True)
        return [Source(reference=place.location.reference, label=label) for place, label in pairs]

    def items(self) -> Iterator[Item]:
        """Every file, place by place, in the order of their names. Raises NoItems at the first step when none is."""
        found = itertools.chain.from_iterable(map(self._of, itertools.count(), self.places, self.sources()))
        first = next(found, None)
        if first is None:
            filtered = " that include and exclude leave" if self.include or self.exclude else ""
            raise NoItems(f"{self.url} holds no file to score{filtered}: point the job at one file at least")
        return itertools.chain([first], found)

    def _of(self, number: int, place: Place, source: Source) -> Iterator[Item]:
        folder = place.location.open()
        if place.file is not None:
            listed: Iterable[tuple[str, int | None]] = [(place.file, folder.stat(place.file).size)]
        else:
            listed = _walked(folder, Wanted(place.pattern, self.include, self.exclude))
        for path, size in listed:
            yield Item(source.item_name(path), path, number, size)


def _walked(folder: Folder, wanted: Wanted) -> Iterator[tuple[str, int | None]]:
    """The files of a folder that count, and their bytes."""
    if wanted.only is None:
        yield from ((found.name, found.size) for found in folder.walk(hidden) if wanted(found.name))
        return
    for name in filter(wanted, wanted.only):
        if (about := _stat(folder, name)) is not None and not about.is_dir:
            yield name, about.size


def _stat(folder: Folder, name: str) -> Stat | None:
    try:
        return folder.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _shown(place: Place) -> str:
    shown = "/".join(part for part in (place.location.url.rstrip("/"), place.file or place.pattern) if part)
    return f"{shown} (azureml:{place.location.asset})" if place.location.asset else shown


def _numbered(base: str) -> Iterator[str]:
    yield base
    for number in itertools.count(2):
        yield f"{base}-{number}"


def hidden(base_name: str) -> bool:
    """Hidden files and markers such as `_SUCCESS` are no data, as readers of data folders agree."""
    return base_name.startswith((".", "_"))


@dataclass
class Wanted:
    """Whether a file counts: its path below the place is asked, and for a pattern without a slash its name."""

    pattern: str | None
    include: list[str]
    exclude: list[str]

    def __post_init__(self) -> None:
        names = {pattern: _only_name(pattern) for pattern in self.include}
        self._names = {name for name in names.values() if name is not None}
        self._globs = [pattern for pattern, name in names.items() if name is None]

    @property
    def only(self) -> list[str] | None:
        """The few files that can count at all, in the order of a walk, or None where it takes a walk to know."""
        if self.pattern is not None or not self._names or self._globs or len(self._names) > _FEW:
            return None
        return sorted((name for name in self._names if not any(map(hidden, name.split("/")))), key=order)

    def __call__(self, name: str) -> bool:
        if self.pattern is not None and not _matches(name, self.pattern, anywhere=False):
            return False
        if self.include and name not in self._names and not any(_matches(name, pattern) for pattern in self._globs):
            return False
        return not any(_matches(name, pattern) for pattern in self.exclude)


def name_pattern(name: str) -> str:
    """The pattern that only this file below a place matches."""
    return f"/{glob.escape(name)}"


def _only_name(pattern: str) -> str | None:
    """The one name that a pattern of name_pattern() matches, or None for any other."""
    match = re.fullmatch(r"/((?:[^*?\[]|\[[*?\[]\])+)", pattern, re.DOTALL)
    return re.sub(r"\[([*?\[])\]", r"\1", match[1]) if match else None


def _matches(name: str, pattern: str, anywhere: bool = True) -> bool:
    if anywhere and "/" not in pattern:
        name = name.rsplit("/", 1)[-1]
    return _compiled(pattern.removeprefix("/")).fullmatch(name) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    head, *tails = str(glob_translate(pattern)).split(_STAR)
    made, free = head, pattern.count("**")
    for tail in tails[:-1]:
        # A star before plain text takes as little as it can, and never again: many would be tried in all ways.
        is_plain = not re.search(r"[(\[]", tail.replace("[^/]", ""))
        made += f"(?>{_STAR}?{tail})" if is_plain else _STAR + tail
        free += not is_plain
    if free > _MOST_FREE:
        raise InvalidDocument(f"inputs: {pattern[:100]!r} has too many stars for a pattern: write several")
    return re.compile("".join([made, *(_STAR + tail for tail in tails[-1:])]))


def model_inputs(given: Mapping[str, Any]) -> tuple[DataInput, Any, dict[str, Any]]:
    """A model job's data, that as it was given, and its literal inputs.

    Raises InvalidDocument for no data, for two, and for what is not a pointer to data.
    """
    data = {name: value for name, value in given.items() if name != PARAMS}
    params: Any = given.get(PARAMS) or {}
    if not isinstance(params, Mapping):
        raise InvalidDocument("inputs.params: must be a mapping of names to values")
    if len(data) > 1:
        names = ", ".join(sorted(data))
        raise InvalidDocument(
            f"inputs: a model deployment takes one data input, {len(data)} were given ({names}); several folders are "
            "one input with a list of paths, literal values stand under inputs.params"
        )
    name, value = next(iter(data.items()), cast("tuple[str, Any]", ("", None)))
    if not value:
        raise InvalidDocument('inputs: nothing was given: name the data, as in inputs={"data": "path/to/folder"}')
    if not isinstance(value, (str, list, Mapping)):
        raise InvalidDocument(f"inputs.{name}: {value!r} is not understood: give a path, or a mapping with one")
    spec = cast("Mapping[str, Any]", value if isinstance(value, Mapping) else {"path": value})
    found = validate(DataInput, spec, f"inputs.{name}")
    if not found.path or not all(path.strip() for path in found.path):
        raise InvalidDocument(f"inputs.{name}: the path is empty: name a folder or a file")
    return found, cast("Any", value), dict(cast("Mapping[str, Any]", params))


def find_input(data: DataInput, given: Any, client: SyncPrefectClient | None) -> Input:
    """What the pointer means: existing places that may be read. Raises InvalidDocument, NotFound, BatchError."""
    places = [_find(path, data.type, client) for path in data.path]
    return Input(given=given, places=places, include=data.include, exclude=data.exclude)


def _find(given: str, kind: str | None, client: SyncPrefectClient | None) -> Place:
    location = locate(given, client)
    about = stat_of(location)
    if about is None:
        if (globbed := _split_glob(location)) is not None:
            return globbed
        raise NotFound(f"inputs: {given!r} does not exist (looked for {location.url})")
    if kind == "uri_file" and about.is_dir:
        raise InvalidDocument(f"inputs: {given!r} is a folder, and type says uri_file: write type: uri_folder")
    if kind == "uri_folder" and not about.is_dir:
        raise InvalidDocument(f"inputs: {given!r} is a file, and type says uri_folder: write type: uri_file")
    if about.is_dir:
        return Place(location=location)
    return _file(location)


def _file(location: Location) -> Place:
    """A file as one of its folder."""
    parent, _, name = location.reference.rpartition("/")
    if location.url.startswith(_WEB):
        if "?" in location.url:
            raise InvalidDocument(
                f"inputs: {location.given!r} has a query, so that it names no file of a folder: give a URL without '?'"
            )
        name = unquote(name)  # names below a folder are plain: Folder quotes them
    folder = location.model_copy(update={"reference": parent or "/", "url": location.url.rpartition("/")[0] or "/"})
    return Place(location=folder, file=name)


def stat_of(location: Location, where: str = "inputs") -> Stat | None:
    """What stands at a location, or None. Raises BatchError, with `where` in front, for what cannot be read."""
    try:
        return location.open().stat()
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise BatchError(f"{where}: {may_not_be_read(location, error)}") from None
    except StorageFailed as error:
        held = f"{location.given!r} (datastore {location.datastore!r}): " if location.datastore else ""
        raise StorageFailed(f"{where}: {held}{error}") from None


def _split_glob(location: Location) -> Place | None:
    """`s3://bucket/2024/*/x.csv` as the folder `s3://bucket/2024` and the pattern `*/x.csv`."""
    wild = "[*[]" if location.url.startswith(_WEB) else "[*?[]"  # ? begins a query there
    parts = location.reference.split("/")
    first = next((at for at, part in enumerate(parts) if re.search(wild, part)), None)
    if first is None:
        return None
    pattern = "/".join(parts[first:])
    base = location.url.removesuffix(pattern).rstrip("/") or "/"
    folder = location.model_copy(update={"reference": "/".join(parts[:first]) or "/", "url": base})
    about = stat_of(folder)
    if about is None or not about.is_dir:
        raise NotFound(f"inputs: {location.given!r} matches nothing: {base} is not a folder")
    return Place(location=folder, pattern=pattern)


def is_below(folder: Folder, source: Folder) -> bool:
    """Whether a folder is another one, or lies in it."""
    if folder.is_local != source.is_local:
        return False
    if folder.is_local:
        return Path(folder.path).resolve().is_relative_to(Path(source.path).resolve())
    return f"{folder.url}/".startswith(f"{source.url}/")


def check_apart(inputs: Input, written: list[Folder]) -> None:
    """Refuse a job that would find its own files in its input. Raises InvalidDocument."""
    for place in inputs.places:
        source = place.location.open()
        for folder in written:
            if place.file is None and is_below(folder, source):
                raise InvalidDocument(
                    f"inputs: {_shown(place)} holds {folder.url}, which the job writes to: keep them apart"
                )
