"""What `begin_...` gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Poller(Generic[T]):
    """What was begun, and is done: `begin_...` itself waits, as nothing takes longer than to copy code and a model.

    It is there for programs that ask for result(), as those for Azure ML do. What goes wrong is raised by `begin_...`.
    """

    value: T

    def result(self, timeout: float | None = None) -> T:
        """What was made."""
        return self.value

    def wait(self, timeout: float | None = None) -> None:
        """Return when it is done."""

    def done(self) -> bool:
        return True

    def status(self) -> str:
        return "Succeeded"
