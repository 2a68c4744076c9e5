"""A running Dask scheduler with its workers: jobs take what is there, and start and stop nothing."""

from __future__ import annotations

from typing import Any

from .cluster_kind import Kind, Shape


class AddressKind(Kind):
    """`type: address`."""

    provisions = False

    def check(self) -> None:
        if self.compute.address is None:
            raise ValueError("type: address needs the address of a Dask scheduler: address: tcp://host:8786")

    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        raise NotImplementedError("nothing is started")

    def render(self, shape: Shape) -> str:
        return f"Client({str(self.compute.address)!r})\n"
