"""What the Python client makes, shows and changes, with the names and keys of Azure ML's Python SDK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from os import PathLike
from typing import Any, ClassVar

from .constants import AssetTypes
from .entity import Asset, Entity
from .job import Job

__all__ = [
    "AccountKeyConfiguration",
    "AmlCompute",
    "AzureBlobDatastore",
    "AzureDataLakeGen2Datastore",
    "BatchDeployment",
    "BatchEndpoint",
    "BatchRetrySettings",
    "CodeConfiguration",
    "Component",
    "Data",
    "Datastore",
    "EndpointDefaults",
    "Environment",
    "Input",
    "Job",
    "Model",
    "ModelBatchDeployment",
    "ModelBatchDeploymentSettings",
    "Output",
    "PipelineComponentBatchDeployment",
    "PipelineJob",
    "ResourceConfiguration",
    "SasTokenConfiguration",
    "ServicePrincipalConfiguration",
]

Place = str | PathLike[str]


@dataclass(kw_only=True)
class Input(Entity):
    """An input of a call: `path` for data, `type` and `default` for a literal value."""

    type: str | None = None
    """Of data, what must be there; by default anything. A literal says string, boolean, integer or number."""
    path: Place | Asset | Sequence[Place] | None = None
    """Several places are for model deployments."""
    mode: str | None = None
    default: str | bool | int | float | None = None
    include: str | list[str] | None = None
    exclude: str | list[str] | None = None


@dataclass(kw_only=True)
class Output(Entity):
    """Where an output of a call goes."""

    type: str | None = None
    path: Place | None = None
    mode: str | None = None


@dataclass(kw_only=True)
class EndpointDefaults(Entity):
    """`defaults` of an endpoint."""

    deployment_name: str | None = None


@dataclass(kw_only=True)
class BatchEndpoint(Entity):
    """A name that anyone can call to score a lot of data later."""

    parts: ClassVar[dict[str, type[Entity]]] = {"defaults": EndpointDefaults}

    name: str
    description: str | None = None
    tags: dict[str, str] | None = None
    properties: dict[str, str] | None = None
    auth_mode: str | None = None
    defaults: EndpointDefaults = field(default_factory=EndpointDefaults)
    schedules: list[dict[str, Any]] | None = None
    triggers: list[dict[str, Any]] | None = None

    def document(self) -> dict[str, Any]:
        held = super().document()
        return held if held["defaults"] else {key: value for key, value in held.items() if key != "defaults"}


@dataclass(kw_only=True)
class CodeConfiguration(Entity):
    """The folder with the scoring script, and the script in it."""

    code: Place | None = None
    scoring_script: Place | None = None


@dataclass(kw_only=True)
class BatchRetrySettings(Entity):
    """How often a mini-batch is tried, and for how many seconds."""

    max_retries: int | None = None
    timeout: float | None = None


@dataclass(kw_only=True)
class ResourceConfiguration(Entity):
    """`resources` of a deployment."""

    instance_count: int | None = None
    instance_type: str | None = None
    properties: dict[str, Any] | None = None


@dataclass(kw_only=True)
class _ScoringSettings(Entity):
    """Settings that stand under `settings` of a model deployment, and in the older form beside the rest."""

    mini_batch_size: int | str | None = None
    max_concurrency_per_instance: int | None = None
    instance_count: int | None = None
    error_threshold: int | str | None = None
    output_action: str | None = None
    output_file_name: str | None = None
    retry_settings: BatchRetrySettings | dict[str, Any] | None = None
    logging_level: str | None = None
    environment_variables: dict[str, str] | None = None


@dataclass(kw_only=True)
class ModelBatchDeploymentSettings(_ScoringSettings):
    """`settings` of a model deployment."""

    parts: ClassVar[dict[str, type[Entity]]] = {"retry_settings": BatchRetrySettings}

    output_format: str | None = None
    output_compression: str | None = None
    output_columns: Any = None


@dataclass(kw_only=True)
class _Deployment(Entity):
    name: str
    endpoint_name: str | None = None
    description: str | None = None
    tags: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None
    version: int | None = field(default=None, init=False)
    """Of one that is deployed: each change makes the next."""
    created_at: datetime | None = field(default=None, init=False)


@dataclass(kw_only=True)
class _Scoring(_Deployment):
    """What deployments of models have, in both of their forms."""

    model: Model | Place | None = None
    code_configuration: CodeConfiguration | dict[str, Any] | None = None
    code_path: Place | None = None
    """With `scoring_script` short for code_configuration."""
    scoring_script: Place | None = None
    environment: Environment | str | dict[str, Any] | None = None
    compute: AmlCompute | str | None = None
    resources: ResourceConfiguration | dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        held = super().document()
        code = {"code": held.pop("code_path", None), "scoring_script": held.pop("scoring_script", None)}
        given = {key: value for key, value in code.items() if value is not None}
        return held | ({"code_configuration": given} if given else {})


@dataclass(kw_only=True)
class ModelBatchDeployment(_Scoring):
    """A model behind an endpoint, perhaps with a scoring script."""

    parts: ClassVar[dict[str, type[Entity]]] = {
        "code_configuration": CodeConfiguration,
        "resources": ResourceConfiguration,
        "settings": ModelBatchDeploymentSettings,
    }

    settings: ModelBatchDeploymentSettings | dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        return {**super().document(), "type": "model"}


@dataclass(kw_only=True)
class BatchDeployment(_ScoringSettings, _Scoring):
    """A model deployment in the older form, with its settings beside the rest."""

    parts: ClassVar[dict[str, type[Entity]]] = {
        "code_configuration": CodeConfiguration,
        "resources": ResourceConfiguration,
        "retry_settings": BatchRetrySettings,
    }

    def document(self) -> dict[str, Any]:
        held = super().document()
        if (count := held.pop("instance_count", None)) is not None:
            held["resources"] = held.get("resources", {}) | {"instance_count": count}
        return held


@dataclass(kw_only=True)
class PipelineComponentBatchDeployment(_Deployment):
    """A pipeline behind an endpoint: a component, a Prefect flow, or what a job ran."""

    component: Component | Place | dict[str, Any] | None = None
    flow: str | None = None
    code: Place | None = None
    job_definition: Job | str | None = None
    settings: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        held = super().document()
        if isinstance(self.job_definition, Job):
            held["job_definition"] = f"azureml:{self.job_definition.name}"
        return {**held, "type": "pipeline"}


@dataclass(kw_only=True)
class AmlCompute(Entity):
    """A compute: processes on the worker's machine, or what `type` says; with an `address` a running Dask cluster.

    Keys of Azure ML's that mean nothing here are taken, and have no effect.
    """

    name: str
    type: str = "amlcompute"
    description: str | None = None
    tags: dict[str, str] | None = None
    address: str | None = None
    hosts: list[str] | None = None
    provider: str | None = None
    cluster_class: str | None = None
    size: str | None = None
    """The type of machine in a cloud; elsewhere of no effect."""
    min_instances: int | None = None
    max_instances: int | None = None
    idle_time_before_scale_down: int | None = None
    """Seconds."""
    tier: str | None = None
    gpus_per_instance: int | None = None
    price_per_instance_hour: float | None = None
    currency: str | None = None
    cluster_kwargs: dict[str, Any] | None = None
    chaos: dict[str, Any] | None = None
    """Takes nodes away on a schedule, for tests: `interval` in seconds, `nodes`, `away`, `seed`."""
    identity: Any = None
    """Of no effect, as all that follow."""
    location: str | None = None
    network_settings: Any = None
    ssh_settings: Any = None
    ssh_public_access_enabled: bool | None = None
    enable_node_public_ip: bool | None = None

    def document(self) -> dict[str, Any]:
        held = super().document()
        return held | ({"type": "address"} if self.address is not None and self.type == "amlcompute" else {})

    def named(self) -> Any:
        return self.name


@dataclass(kw_only=True)
class Data(Asset):
    """A data asset: a name for a file or a folder of data, in versions that never change."""

    type: str = AssetTypes.URI_FOLDER
    path: Place | None = None
    archived: bool = field(default=False, init=False)
    created_at: datetime | None = field(default=None, init=False)


@dataclass(kw_only=True)
class Model(Asset):
    """A model of MLflow's registry, or one that lies somewhere."""

    type: str | None = None
    path: Place | None = None
    aliases: list[str] | None = field(default=None, init=False)
    created_at: datetime | None = field(default=None, init=False)


@dataclass(kw_only=True)
class Environment(Asset):
    """What scoring processes run in: built, where it is no image, on the machine that needs it."""

    image: str | None = None
    conda_file: Place | dict[str, Any] | None = None
    python_requirements: Place | list[str] | None = None
    python_constraints: list[str] | None = None
    python: str | None = None
    archived: bool = field(default=False, init=False)
    created_at: datetime | None = field(default=None, init=False)


@dataclass(kw_only=True)
class Component(Asset):
    """A component, registered, or of a file (`load_component`)."""

    type: str | None = None
    archived: bool = field(default=False, init=False)
    created_at: datetime | None = field(default=None, init=False)

    def named(self) -> Any:
        return self.id or (str(self.source.absolute()) if self.source is not None else self.document())


@dataclass(kw_only=True)
class PipelineJob(Entity):
    """A pipeline job of a file (`load_job`), to be run without an endpoint."""

    name: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict[str, Any])
    """Laid over the file's keys."""


@dataclass(kw_only=True)
class AccountKeyConfiguration(Entity):
    """Credentials: the key of a storage account."""

    account_key: str = field(repr=False)


@dataclass(kw_only=True)
class SasTokenConfiguration(Entity):
    """Credentials: a shared access signature."""

    sas_token: str = field(repr=False)


@dataclass(kw_only=True)
class ServicePrincipalConfiguration(Entity):
    """Credentials: a service principal."""

    tenant_id: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(kw_only=True)
class Datastore(Entity):
    """A named place with the credentials that open it; the keys that it needs depend on its type."""

    name: str
    type: str | None = None
    description: str | None = None
    tags: dict[str, str] | None = None
    read_only: bool | None = None
    path: Place | None = None
    url: str | None = None
    bucket: str | None = None
    prefix: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    anonymous: bool | None = None
    account_name: str | None = None
    container_name: str | None = None
    filesystem: str | None = None
    endpoint: str | None = None
    protocol: str | None = None
    options: dict[str, Any] | None = None
    credentials: Entity | dict[str, Any] | None = field(default=None, repr=False)
    """Given, never told: of a datastore that was read it is None."""
    id: str | None = field(default=None, init=False)
    """What stands before `/paths/<path>` in the path of an input or an output."""


@dataclass(kw_only=True)
class AzureBlobDatastore(Datastore):
    """A container of Azure Blob Storage."""

    type: str | None = "azure_blob"


@dataclass(kw_only=True)
class AzureDataLakeGen2Datastore(Datastore):
    """A filesystem of Azure Data Lake Storage Gen2."""

    type: str | None = "azure_data_lake_gen2"
