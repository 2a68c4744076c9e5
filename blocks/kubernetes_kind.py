"""Pods of a Kubernetes cluster, by the operator of dask-kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

from ..scoring.errors import InvalidDocument
from .cluster_kind import Kind, Shape, as_yaml

_OF_THE_MANIFEST = {"image", "env", "resources", "scheduler_service_type", "idle_timeout", "custom_cluster_spec"}


class KubernetesKind(Kind):
    """A node is a pod."""

    extra = "kubernetes"
    modules = ("dask_kubernetes",)
    runs_containers = True

    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        others = {key: value for key, value in self.compute.cluster_kwargs.items() if key not in _OF_THE_MANIFEST}
        manifest = self._manifest(shape, f"{self.compute.name}-{uuid4().hex[:8]}")
        return "dask_kubernetes.operator.KubeCluster", {"custom_cluster_spec": manifest, "quiet": True, **others}

    def render(self, shape: Shape) -> str:
        self.require()
        return as_yaml(self._manifest(shape, self.compute.name))

    def _manifest(self, shape: Shape, name: str) -> dict[str, Any]:
        """Of the operator's resource DaskCluster."""
        from dask_kubernetes.operator.kubecluster.kubecluster import (  # pyright: ignore[reportMissingTypeStubs]
            make_cluster_spec,  # pyright: ignore[reportUnknownVariableType]
        )

        given = self.compute.cluster_kwargs
        image = shape.image or given.get("image")
        if image is None:
            raise InvalidDocument(
                f"compute {self.compute.name!r} needs an image with prefect-batch for its pods: "
                "cluster_kwargs.image, or environment.image of the deployment"
            )
        environment: dict[str, str] = {**self.dask_environment(), **given.get("env", {})}
        made = cast(
            dict[str, Any],
            make_cluster_spec(
                name,
                image=image,
                n_workers=shape.instances,
                env=environment,
                scheduler_service_type=given.get("scheduler_service_type", "ClusterIP"),
                idle_timeout=given.get("idle_timeout", self.idle_seconds),
            ),
        )
        worker, scheduler = (made["spec"][part]["spec"]["containers"][0] for part in ("worker", "scheduler"))
        worker["resources"] = _resources(shape, given.get("resources", {}))
        # The commands dask-worker and dask-scheduler, which the template knows, are no more.
        threads, name_variable = str(shape.node_threads), "$(DASK_WORKER_NAME)"
        worker["args"] = ["dask", "worker", "--nthreads", threads, "--memory-limit", "0", "--name", name_variable]
        worker["args"] += ["--dashboard-address", "8788"]
        scheduler["args"] = ["dask", "scheduler", "--host", "0.0.0.0"]  # nosec B104 # of its own pod
        del scheduler["resources"]
        # Each container's own, and not one list for both: YAML would make it an alias.
        scheduler["env"] = [dict(variable) for variable in worker["env"]]
        made = _laid_over(made, given.get("custom_cluster_spec", {}))
        made["metadata"]["name"] = name
        return made


def _resources(shape: Shape, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a pod asks for: a processor for each scoring process unless the record says more, and its GPUs."""
    asked: dict[str, Any] = {"requests": {"cpu": str(shape.processes), **given.get("requests", {})}}
    if limits := {**given.get("limits", {}), **({"nvidia.com/gpu": str(shape.gpus)} if shape.gpus else {})}:
        asked["limits"] = limits
    return asked


def _laid_over(below: Any, above: Any) -> Any:
    """As `kubectl apply` does: mappings are merged, and so are lists of things with names, by these."""
    if isinstance(below, dict) and isinstance(above, dict):
        held, new = cast(dict[str, Any], below), cast(dict[str, Any], above)
        return {**held, **{key: _laid_over(held.get(key), value) for key, value in new.items()}}
    if (held := _by_name(below)) is not None and (new := _by_name(above)) is not None:
        return [*_laid_over(held, new).values()]
    return cast(object, above)


def _by_name(value: Any) -> dict[str, Any] | None:
    """A list of things with names; None for anything else."""
    if not isinstance(value, list):
        return None
    things = cast(list[Any], value)
    named = all(isinstance(thing, dict) and "name" in thing for thing in things)
    return {thing["name"]: thing for thing in things} if named else None
