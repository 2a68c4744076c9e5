"""Dask's local cluster, whose workers are named by the numbers of the nodes that they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distributed import LocalCluster


class NumberedCluster(LocalCluster):
    """Names each worker by the lowest of the given numbers that is free.

    Args:
        numbers: of the nodes; further nodes get the numbers after the highest.
        arguments: as of LocalCluster.
    """

    def __init__(self, *, numbers: Sequence[int], **arguments: Any) -> None:
        self._numbers = tuple(numbers)
        super().__init__(**arguments)  # pyright: ignore[reportUnknownMemberType]

    async def _start(self) -> None:
        specs: list[Any] = list(self.worker_spec.values())
        self.worker_spec = {self._new_worker_name(index): spec for index, spec in enumerate(specs)}
        await super()._start()  # pyright: ignore[reportUnknownMemberType]

    def _new_worker_name(self, worker_number: int) -> int:
        if worker_number < len(self._numbers):
            return self._numbers[worker_number]
        return max(self._numbers, default=-1) + 1 + worker_number - len(self._numbers)

    def new_worker_spec(self) -> dict[Any, Any]:
        self._i = 0  # Dask would go on counting, and never come back to a number that is free again
        return super().new_worker_spec()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
