"""Options that several commands share."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from ..scoring.errors import InvalidDocument

MaxResults = Annotated[
    int, Parameter(name=["--limit", "--max-results", "-r"], help="At most so many.", validator=Number(gte=1))
]
File = Annotated[Path, Parameter(name=["--file", "-f"], help="YAML file.")]
OptionalFile = Annotated[Path | None, Parameter(name=["--file", "-f"], help="YAML file.")]
Name = Annotated[str, Parameter(name=["--name", "-n"])]
OptionalName = Annotated[str | None, Parameter(name=["--name", "-n"])]
JobId = Annotated[str, Parameter(name=["--id", "--name", "-n"], help="Of the job; the name it was given does too.")]
InputsFile = Annotated[
    Path | None, Parameter(name=["--file", "-f"], help="YAML file with `inputs`, `outputs` and `settings`.")
]
Endpoint = Annotated[str | None, Parameter(name=["--endpoint", "--endpoint-name", "-e"], help="Name of the endpoint.")]
Deployment = Annotated[
    str | None, Parameter(name=["--deployment", "--deployment-name", "-d"], help="Instead of the default.")
]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], help="Do not ask.", negative=())]


def _on_this_machine(kind: object, tokens: Sequence[Token]) -> Path:
    """A URL would become a folder `s3:`."""
    (token,) = tokens
    if re.match(r"[A-Za-z0-9][\w+.-]*:", token.value):
        raise InvalidDocument(
            f"{token.keyword} {token.value!r}: must be a folder on this machine (for a name with a colon, ./NAME)"
        )
    return Path(token.value).expanduser()


LocalFolder = Annotated[Path, Parameter(converter=_on_this_machine)]
Input = Annotated[
    list[str],
    Parameter(
        help="Folder, file or pattern to score: a path, URL, datastore or data asset. May be given several times.",
        negative=(),
    ),
]
InputType = Annotated[Literal["uri_folder", "uri_file"] | None, Parameter(help="What the input must be.")]
Include = Annotated[list[str], Parameter(help="Only files that match, as in '*.csv'.", negative=())]
Exclude = Annotated[list[str], Parameter(help="No files that match.", negative=())]
Set = Annotated[
    list[str],
    Parameter(
        name="--set",
        help="Override settings for this job, or give an input or output: KEY=VALUE, as in mini_batch_size=2, "
        "inputs.folds=5 or inputs.data.path=data/ outputs.score.path=out/.",
        negative=(),
    ),
]
SetKeys = Annotated[
    list[str],
    Parameter(
        name="--set", help="Set keys of the file: KEY=VALUE, as in description=Daily or tags.team=blue.", negative=()
    ),
]
Stream = Annotated[bool, Parameter(help="Follow the job until it ends.", negative=())]


def confirm(question: str, yes: bool) -> None:
    """Ask before something is lost; without a terminal to ask on, only --yes will do. Raises InvalidDocument."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidDocument(f"{question} Say so with --yes")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        sys.exit(1)
