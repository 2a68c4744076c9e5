"""What the service keeps in datastores, and what jobs have put there: places that are not any caller's to name.

A caller who could write a job's record would decide what that job runs, and with whose rights; one who could read
below `snapshots/` would have everybody's code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient

from ..blocks.acting import acting_as
from ..blocks.datastore import below, default_datastore
from ..blocks.snapshot import FOLDER as SNAPSHOTS
from ..scoring.errors import Forbidden
from .job import JOBS, OUTPUTS
from .reuse import FOLDER as REUSE
from .upload import FOLDER as UPLOADS
from .watch_ledger import FOLDER as WATCHES

MayRead = Callable[[UUID], bool | None]
"""Whether the caller may read the outputs of a job; None where there is no such job."""

_OWN = {JOBS, REUSE, SNAPSHOTS, UPLOADS, WATCHES}
_MADE_UP = re.compile(r"[0-9a-f]{32}([0-9a-f]{32})?(\.json)?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Names that the service gives: ids and digests. In datastores that are not the default they tell what is its own."""


class Kept:
    """Refuses what a caller may not name of it.

    Args:
        client: of the Prefect server.
        may_read: of the caller; None where that was asked before.
    """

    def __init__(self, client: SyncPrefectClient, may_read: MayRead | None) -> None:
        self._may_read = may_read
        with acting_as(None):  # the service's own, also where the caller is denied it
            self._default = default_datastore(client).url

    def check(self, given: str, url: str, root: str, to_write: bool) -> None:
        """Refuse a place that is the service's, or holds outputs of jobs and is not the caller's to read.

        Args:
            given: as the caller wrote it.
            url: what that means.
            root: of the datastore that it is in.
            to_write: whether an output is to go there.

        Raises Forbidden.
        """
        parts = _parts(url, self._default)
        is_default = parts is not None
        first, second, *_ = [*((_parts(url, root) or []) if parts is None else parts), "", ""]
        if first in _OWN and (is_default or _MADE_UP.fullmatch(second)):
            raise Forbidden(f"{given!r} is kept by the service itself: name another place")
        if first == OUTPUTS and self._is_of_others(second, is_default, to_write):
            raise Forbidden(f"{given!r} is for outputs of jobs, and not of one that this caller may read")

    def _is_of_others(self, job: str, is_default: bool, to_write: bool) -> bool:
        if to_write:
            return is_default or _MADE_UP.fullmatch(job) is not None
        if self._may_read is None:
            return False
        try:
            may = self._may_read(UUID(job))
        except ValueError:
            may = None
        return is_default if may is None else not may


def _parts(url: str, root: str) -> list[str] | None:
    """The names in a path below a root, as seen by a storage for which a//b, ./a/b and A/B are the same."""
    if "://" not in url and "://" not in root:
        url, root = os.path.realpath(url), os.path.realpath(root)
    path = below(url, root)
    return [part for part in path.lower().split("/") if part not in ("", ".")] if path is not None else None
