"""What a principal may do: `invoke:heart`, `read:heart`, `manage:*`."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from ..scoring.errors import InvalidDocument

Action = Literal["invoke", "read", "manage"]
"""Make jobs of an endpoint, and see and cancel those; see all its jobs and their outputs; change it, cancel any job."""


@dataclass(frozen=True)
class Grant:
    """An action, and the endpoints on which it is allowed: a name, or a pattern with `*`."""

    action: Action
    endpoint: str

    @classmethod
    def parse(cls, text: str) -> Grant:
        """`invoke:heart` as a grant. Raises InvalidDocument."""
        action, colon, endpoint = text.strip().partition(":")
        for known in get_args(Action):
            if action == known and colon and endpoint:
                return cls(known, endpoint.lower())
        raise InvalidDocument(
            f"{text!r} is no grant: write ACTION:ENDPOINT, as in invoke:heart, read:* or manage:heart"
        )

    def __str__(self) -> str:
        return f"{self.action}:{self.endpoint}"

    def allows(self, action: Action, endpoint: str) -> bool:
        """Whether this is the action, and the endpoint is meant."""
        return self.action == action and fnmatch.fnmatchcase(endpoint.lower(), self.endpoint)


def allowed(grants: Iterable[Grant], action: Action, endpoint: str) -> bool:
    """Whether any of the grants allows it."""
    return any(grant.allows(action, endpoint) for grant in grants)
