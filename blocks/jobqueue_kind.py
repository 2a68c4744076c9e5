"""Jobs of an HPC cluster's queue: Slurm, PBS and their like, by dask-jobqueue."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from .cluster_kind import Kind, Shape

_MEMORY_GIB = 4
"""That each scoring process asks for, where the record does not say how much a node is to have."""
_CLASSES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "htcondor": "HTCondorCluster",
}
_GPUS: dict[str, Callable[[int], dict[str, Any]]] = {
    "slurm": lambda gpus: {"job_extra_directives": [f"--gres=gpu:{gpus}"]},
    "sge": lambda gpus: {"job_extra_directives": [f"-l gpu={gpus}"]},
    "lsf": lambda gpus: {"job_extra_directives": [f'-gpu "num={gpus}"']},
    "htcondor": lambda gpus: {"job_extra_directives": {"RequestGPUs": gpus}},
}
_ALSO: dict[str, dict[str, Any]] = {
    "htcondor": {"disk": "1 GiB"},
    "oar": {"memory_per_core_property_name": "not_applicable"},
}


class JobqueueKind(Kind):
    """A node is a job of the queue. What the site's own configuration of dask-jobqueue says holds too."""

    extra = "jobqueue"
    modules = ("dask_jobqueue",)

    def check(self) -> None:
        given = self.compute.cluster_kwargs
        if self.compute.gpus_per_instance and self.compute.type not in _GPUS and "resource_spec" not in given:
            raise ValueError(
                f"gpus_per_instance: with type: {self.compute.type}, ask for them in cluster_kwargs.resource_spec too"
            )

    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        exports = [f"export {key}={value}" for key, value in self.dask_environment().items() if "__WORKER__" in key]
        arguments = self.over(
            {
                "n_workers": shape.instances,
                "cores": shape.processes,
                "processes": 1,
                # Threads only wait for the scoring processes; no core is to be asked for them. The last one counts.
                **({"worker_extra_args": ["--nthreads", str(shape.node_threads)]} if shape.threads > 1 else {}),
                "memory": f"{_MEMORY_GIB * shape.processes} GiB",
                "job_name": f"prefect-batch-{self.compute.name}",
                "scheduler_options": {"dashboard_address": ":0"},
                **_ALSO.get(self.compute.type, {}),
                **(_GPUS[self.compute.type](shape.gpus) if shape.gpus and self.compute.type in _GPUS else {}),
            }
        )
        arguments["job_script_prologue"] = exports + list(arguments.get("job_script_prologue", []))
        return f"dask_jobqueue.{_CLASSES[self.compute.type]}", arguments

    def render(self, shape: Shape) -> str:
        """The script of each node's job."""
        self.require()
        path, arguments = self.cluster(shape)
        module, _, name = path.rpartition(".")
        cluster: Any = getattr(importlib.import_module(module), name)
        of_cluster = inspect.signature(importlib.import_module("dask_jobqueue.core").JobQueueCluster).parameters
        both = {"config_name", "interface", "protocol", "security"}
        own = {key: value for key, value in arguments.items() if key not in of_cluster or key in both}
        return cluster.job_cls("tcp://SCHEDULER:8786", name="NODE", **own).job_script()
