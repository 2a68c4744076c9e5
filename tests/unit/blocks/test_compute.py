"""Compute clusters: what becomes of them on Dask, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from prefect_batch.blocks.compute import ComputeCluster, builtin_local
from prefect_batch.blocks.settings import ModelSettings
from prefect_batch.scoring.errors import InvalidDocument


def test_an_instance_is_a_worker_with_a_thread_a_scoring_process() -> None:
    arguments = builtin_local().runner_arguments(ModelSettings(instance_count=3, max_concurrency_per_instance=2))
    assert arguments["cluster_class"] == "distributed.LocalCluster"
    assert (arguments["cluster_kwargs"]["n_workers"], arguments["cluster_kwargs"]["threads_per_worker"]) == (3, 2)
    assert arguments["cluster_kwargs"]["processes"] is True


def test_a_running_scheduler() -> None:
    compute = ComputeCluster(name="dask", type="address", address="tcp://host:8786")
    assert compute.runner_arguments(ModelSettings()) == {"address": "tcp://host:8786"}
    compute.check(ModelSettings(instance_count=1000))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "address"}, "address goes with type: address, and only with it"),
        ({"address": "tcp://x"}, "address goes with type: address, and only with it"),
        ({"min_instances": 5, "max_instances": 2}, "min_instances: 5 is more than max_instances: 2"),
        ({"max_instances": 0}, "greater than or equal to 1"),
        ({"type": "kubernetes"}, "'local' or 'address'"),
        ({"tier": "spot"}, "'dedicated' or 'low_priority'"),
    ],
)
def test_impossible_clusters(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ComputeCluster(name="abc", **given)


def test_azures_spelling() -> None:
    compute = ComputeCluster.model_validate({"name": "batch-cluster", "type": "amlcompute", "tier": "LowPriority"})
    assert (compute.type, compute.tier) == ("local", "low_priority")


def test_a_job_that_never_fits_is_refused() -> None:
    compute = ComputeCluster(name="small", max_instances=2)
    compute.check(ModelSettings(instance_count=2))
    with pytest.raises(
        InvalidDocument, match=r"^instance_count: 3 is more than compute 'small' has \(max_instances: 2\)$"
    ):
        compute.check(ModelSettings(instance_count=3))
    builtin_local().check(ModelSettings(instance_count=10_000))
