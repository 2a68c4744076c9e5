"""Compute clusters: what their records hold, and what they refuse."""

from __future__ import annotations

import platform
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from prefect_batch.blocks.cluster_kind import Shape
from prefect_batch.blocks.compute import KINDS, NO_EFFECT, ComputeCluster, builtin_local, parse_compute
from prefect_batch.blocks.settings import ModelSettings
from prefect_batch.scoring.errors import InvalidDocument


def test_a_wrong_key_is_all_that_is_said():
    with pytest.raises(InvalidDocument) as error:
        parse_compute({"name": "a b"}, "compute")
    assert "max_instances" not in str(error.value) and "'a b' must be" in str(error.value)


def test_every_kind_is_a_type():
    declared: Any = ComputeCluster.model_fields["type"].annotation
    assert get_args(declared) == KINDS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "address"}, "address goes with type: address, and only with it"),
        ({"address": "tcp://x"}, "address goes with type: address, and only with it"),
        ({"type": "ssh"}, "hosts goes with type: ssh, and only with it"),
        ({"hosts": ["a"]}, "hosts goes with type: ssh, and only with it"),
        ({"type": "ssh", "hosts": ["a", "b"], "max_instances": 3}, r"not be more than there are hosts \(2\)"),
        ({"type": "cloud"}, "provider goes with type: cloud, and only with it"),
        ({"type": "cloud", "provider": "moon"}, "one of aws, azure, gcp, digitalocean, hetzner"),
        ({"type": "cloud", "provider": "hetzner", "tier": "low_priority"}, "is for provider aws, azure, gcp"),
        ({"type": "dask"}, "cluster_class goes with type: dask, and only with it"),
        ({"type": "pbs", "gpus_per_instance": 1}, r"ask for them in cluster_kwargs\.resource_spec too"),
        ({"min_instances": 5, "max_instances": 2}, "min_instances: 5 is more than max_instances: 2"),
        ({"max_instances": 0}, "greater than or equal to 1"),
        ({"type": "mainframe"}, "'local', 'address', 'ssh', 'kubernetes', 'slurm'"),
        ({"tier": "spot"}, "'dedicated' or 'low_priority'"),
        (
            {"cluster_kwargs": {"env": {1: 2, "AWS_SECRET_ACCESS_KEY": "x"}}},
            r"cluster_kwargs\.env\.AWS_SECRET_ACCESS_KEY: whoever reads the compute would read it",
        ),
        (
            {"cluster_kwargs": {"connect_options": [{"password": "x"}]}},
            r"cluster_kwargs\.connect_options\.password: whoever reads the compute would read it",
        ),
    ],
)
def test_impossible_clusters(given: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        ComputeCluster(name="abc", **given)


def test_azures_spelling_and_defaults():
    compute = parse_compute({"name": "batch-cluster", "type": "amlcompute", "tier": "LowPriority"}, "file")
    assert (compute.type, compute.tier) == ("local", "low_priority")
    assert (compute.min_instances, compute.max_instances, compute.idle_time_before_scale_down) == (0, 4, 120)
    assert compute.keeps


def test_azures_other_keys_are_accepted():
    compute = parse_compute({"name": "abc", "tags": {"team": "blue"}, **{key: {} for key in NO_EFFECT}}, "file")
    assert compute.tags == {"team": "blue"}
    with pytest.raises(InvalidDocument, match="idle_time is not a known key"):
        parse_compute({"name": "abc", "idle_time": 3}, "file")


@pytest.mark.parametrize(
    ("given", "capacity"),
    [
        ({}, 4),
        ({"max_instances": 9}, 9),
        ({"max_instances": None}, None),
        ({"type": "address", "address": "tcp://host:8786"}, None),
        ({"type": "address", "address": "tcp://host:8786", "max_instances": 2}, 2),
        ({"type": "ssh", "hosts": ["a", "b", "c"]}, 3),
        ({"type": "slurm"}, 4),
    ],
)
def test_capacity(given: dict[str, Any], capacity: int | None):
    compute = ComputeCluster(name="abc", **given)
    assert compute.capacity == capacity
    stored = compute.model_dump(mode="json")
    assert ComputeCluster.model_validate(stored).capacity == capacity


@pytest.mark.parametrize(
    ("given", "keeps"),
    [
        ({}, True),
        ({"idle_time_before_scale_down": 0}, False),
        ({"idle_time_before_scale_down": 0, "min_instances": 1}, True),
        ({"type": "address", "address": "tcp://host:8786"}, False),
        ({"type": "slurm"}, True),
        # Encrypted with keys that only the process knows which made it.
        ({"type": "slurm", "cluster_kwargs": {"security": True}}, False),
        ({"type": "cloud", "provider": "aws"}, False),
        ({"type": "cloud", "provider": "aws", "cluster_kwargs": {"security": False}}, True),
    ],
)
def test_which_clusters_are_kept(given: dict[str, Any], keeps: bool):
    assert ComputeCluster(name="abc", **given).keeps is keeps


def test_the_builtin_local_has_no_bound_and_keeps_nothing():
    local = builtin_local()
    assert (local.capacity, local.keeps, local.name, local.type) == (None, False, "local", "local")
    local.check(ModelSettings(instance_count=10_000))


@pytest.mark.parametrize("given", [{}, {"type": "address", "address": "tcp://host:8786"}])
def test_a_job_that_never_fits_is_refused(given: dict[str, Any]):
    compute = ComputeCluster(name="small", max_instances=2, **given)
    compute.check(ModelSettings(instance_count=2))
    with pytest.raises(
        InvalidDocument, match=r"^instance_count: 3 is more than compute 'small' has \(max_instances: 2\)$"
    ):
        compute.check(ModelSettings(instance_count=3))


def test_shapes():
    settings = ModelSettings(instance_count=3, max_concurrency_per_instance=2)
    local = ComputeCluster(name="abc", gpus_per_instance=1).shape(settings, threads=2, image="not/used")
    assert local == Shape(instances=3, processes=2, threads=2, gpus=1, machine=platform.node())
    assert local.node_threads == 4
    pods = ComputeCluster(name="abc", type="kubernetes").shape(settings, image="registry/image:1")
    assert (pods.image, pods.machine) == ("registry/image:1", None)
    assert pods.node_label != local.node_label
