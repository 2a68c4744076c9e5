"""What is stored: endpoints, deployments, compute clusters, datastores and data assets, as Prefect blocks."""

from .compute import ComputeCluster
from .data_asset import DataAsset
from .datastore import Datastore
from .deployment import ModelDeployment
from .endpoint import BatchEndpoint

__all__ = ["BatchEndpoint", "ComputeCluster", "DataAsset", "Datastore", "ModelDeployment"]
