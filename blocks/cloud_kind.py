"""Virtual machines of a cloud, by dask-cloudprovider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..scoring.errors import InvalidDocument
from .cluster_kind import Kind, Shape


@dataclass(frozen=True)
class _Provider:
    cluster_class: str
    size: str
    """Its keyword for the type of machine."""
    spot: dict[str, Any] | None = None
    """Its keywords for machines that it may take back; None: it sells none."""
    gpus: str | None = None
    """Its keyword for the number of GPUs, where the type of machine does not say it."""


PROVIDERS = {
    "aws": _Provider("aws.EC2Cluster", "instance_type", {"spot": True}),
    "azure": _Provider(
        "azure.AzureVMCluster", "vm_size", {"extra_vm_options": {"priority": "Spot", "eviction_policy": "Delete"}}
    ),
    "gcp": _Provider("gcp.GCPCluster", "machine_type", {"preemptible": True}, "worker_ngpus"),
    "digitalocean": _Provider("digitalocean.DropletCluster", "size"),
    "hetzner": _Provider("hetzner.HetznerCluster", "server_type"),
}


class CloudKind(Kind):
    """A node is a virtual machine that runs a container; so is the scheduler, on one more."""

    extra = "cloud"
    modules = ("dask_cloudprovider",)
    runs_containers = True

    @property
    def keepable(self) -> bool:
        """Its clusters encrypt with keys of their own unless told otherwise."""
        return not self.compute.cluster_kwargs.get("security", True)

    def check(self) -> None:
        provider = self.compute.provider or ""
        if provider not in PROVIDERS:
            raise ValueError(f"provider: type: cloud needs one of {', '.join(PROVIDERS)}; for another: type: dask")
        if self.compute.tier == "low_priority" and PROVIDERS[provider].spot is None:
            sells = [name for name, each in PROVIDERS.items() if each.spot is not None]
            raise ValueError(f"tier: low_priority is for provider {', '.join(sells)}")

    def cluster(self, shape: Shape) -> tuple[str, dict[str, Any]]:
        provider = PROVIDERS[self.compute.provider or ""]
        image = shape.image or self.compute.cluster_kwargs.get("docker_image")
        if image is None:
            raise InvalidDocument(
                f"compute {self.compute.name!r} needs an image with prefect-batch for its machines: "
                "cluster_kwargs.docker_image, or environment.image of the deployment"
            )
        arguments = self.over(
            {
                "n_workers": shape.instances,
                **({provider.size: self.compute.size} if self.compute.size else {}),
                **((provider.spot or {}) if self.compute.tier == "low_priority" else {}),
                **({provider.gpus: shape.gpus} if shape.gpus and provider.gpus else {}),
                "worker_options": {"nthreads": shape.node_threads, "memory_limit": 0},
                "scheduler_options": {"idle_timeout": f"{self.idle_seconds}s"} if self.idle_seconds else {},
                "env_vars": self.dask_environment(),
            }
        )
        return f"dask_cloudprovider.{provider.cluster_class}", {**arguments, "docker_image": image}
