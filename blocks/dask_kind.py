"""Any Dask cluster class, by its import path."""

from __future__ import annotations

from typing import Any

from .cluster_kind import Kind, Shape


class DaskKind(Kind):
    """The class gets `n_workers`, and for the rest what the record says."""

    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        assert self.compute.cluster_class is not None  # as the record's check says
        return self.compute.cluster_class, self.over({"n_workers": shape.instances})
