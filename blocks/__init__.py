"""What is stored, as Prefect blocks."""

from .component import Component
from .compute import ComputeCluster
from .data_asset import DataAsset
from .datastore import Datastore
from .endpoint import BatchEndpoint
from .model_deployment import ModelDeployment
from .pipeline_deployment import PipelineDeployment

__all__ = [
    "BatchEndpoint",
    "Component",
    "ComputeCluster",
    "DataAsset",
    "Datastore",
    "ModelDeployment",
    "PipelineDeployment",
]
