"""A Dask scheduler that runs already."""

from __future__ import annotations

from typing import Any

from .cluster_kind import Kind, Shape, as_yaml


class AddressKind(Kind):
    """Nothing is started and nothing ended: jobs take the workers that they find."""

    provisions = False

    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        raise TypeError("nothing is started for a compute of type address")

    def render(self, shape: Shape) -> str:
        return as_yaml({"address": self.compute.address})
