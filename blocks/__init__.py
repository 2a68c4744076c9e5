"""What is stored: endpoints, deployments, compute clusters and datastores, as Prefect blocks."""

from .compute import ComputeCluster
from .datastore import Datastore
from .deployment import ModelDeployment
from .endpoint import BatchEndpoint

__all__ = ["BatchEndpoint", "ComputeCluster", "Datastore", "ModelDeployment"]
