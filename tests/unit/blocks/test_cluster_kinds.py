"""Kinds of compute clusters: what each would start, and that the packages take it."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefect_batch.blocks import cluster_kind
from prefect_batch.blocks.cloud_kind import PROVIDERS
from prefect_batch.blocks.cluster_kind import Shape
from prefect_batch.blocks.compute import ComputeCluster
from prefect_batch.scoring.errors import InvalidDocument

SHAPE = Shape(instances=2, processes=4, threads=2)


def cluster(shape: Shape = SHAPE, **given: Any) -> tuple[str, dict[str, Any]]:
    return ComputeCluster(name="gpu-cluster", **given).kind().cluster(shape)


def render(shape: Shape = SHAPE, **given: Any) -> str:
    return ComputeCluster(name="gpu-cluster", **given).kind().render(shape)


def test_local_nodes_are_worker_processes():
    path, arguments = cluster(Shape(instances=2, processes=2), cluster_kwargs={"host": "10.0.0.1"})
    assert path == "distributed.LocalCluster"
    assert (arguments["n_workers"], arguments["threads_per_worker"], arguments["host"]) == (2, 2, "10.0.0.1")
    assert yaml.safe_load(render())["cluster_kwargs"]["threads_per_worker"] == 8


def test_a_running_scheduler_is_not_started():
    kind = ComputeCluster(name="abc", type="address", address="tcp://host:8786").kind()
    assert not kind.provisions
    assert kind.render(SHAPE) == "address: tcp://host:8786\n"
    with pytest.raises(TypeError):
        kind.cluster(SHAPE)


def test_ssh():
    given: dict[str, Any] = {"type": "ssh", "hosts": ["one", "two", "three"]}
    options = {"username": "batch"}
    path, arguments = cluster(**given, cluster_kwargs={"connect_options": options, "remote_python": "/opt/python"})
    assert path == "prefect_batch.blocks.ssh_cluster.HostsCluster"
    assert arguments["connect_options"] == {"connect_timeout": 20, "keepalive_interval": 10, **options}
    assert (arguments["n_workers"], arguments["worker_options"]["nthreads"]) == (2, 8)
    assert arguments["remote_python"] == "/opt/python"
    with pytest.raises(InvalidDocument, match=r"instance_count: 4 is more than compute 'gpu-cluster' has hosts \(3\)"):
        cluster(Shape(instances=4), **given)


def manifest(shape: Shape = SHAPE, **kwargs: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"image": "registry/scoring:1"} | kwargs
    return yaml.safe_load(render(shape, type="kubernetes", cluster_kwargs=given))


def pod(manifest: dict[str, Any], part: str) -> dict[str, Any]:
    return manifest["spec"][part]["spec"]["containers"][0]


def test_kubernetes_pods():
    made = manifest(
        Shape(instances=2, processes=4, gpus=2), env={"HOME": "/tmp"}, resources={"limits": {"memory": "8Gi"}}
    )
    assert (made["kind"], made["metadata"]["name"], made["spec"]["worker"]["replicas"]) == (
        "DaskCluster",
        "gpu-cluster",
        2,
    )
    worker, scheduler = pod(made, "worker"), pod(made, "scheduler")
    assert worker["image"] == scheduler["image"] == "registry/scoring:1"
    assert worker["args"][:4] == ["dask", "worker", "--nthreads", "4"]
    assert scheduler["args"][:2] == ["dask", "scheduler"]
    assert worker["resources"] == {"requests": {"cpu": "4"}, "limits": {"memory": "8Gi", "nvidia.com/gpu": "2"}}
    assert "resources" not in scheduler
    assert {"name": "HOME", "value": "/tmp"} in worker["env"]
    assert {"name": "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION", "value": "1.0"} in scheduler["env"]


def test_a_jobs_image_is_that_of_its_pods():
    made = manifest(Shape(instances=1, image="registry/other:2"))
    assert pod(made, "worker")["image"] == pod(made, "scheduler")["image"] == "registry/other:2"
    with pytest.raises(InvalidDocument, match="needs an image with prefect-batch"):
        render(type="kubernetes")


def test_a_part_of_a_manifest_is_laid_over():
    spot = {"key": "spot", "operator": "Exists"}
    part = {"nodeSelector": {"pool": "spot"}, "tolerations": [spot], "containers": [{"name": "worker", "tty": True}]}
    made = manifest(custom_cluster_spec={"metadata": {"labels": {"team": "blue"}}, "spec": {"worker": {"spec": part}}})
    assert made["metadata"] == {"name": "gpu-cluster", "labels": {"team": "blue"}}
    assert made["spec"]["worker"]["spec"]["tolerations"] == [spot]
    worker = pod(made, "worker")
    assert worker["tty"] is True
    assert worker["image"] == "registry/scoring:1"


def test_kubernetes_clusters_have_names_of_their_own_and_take_other_keywords():
    given: dict[str, Any] = {"image": "registry/scoring:1", "namespace": "batch"}
    made = [cluster(type="kubernetes", cluster_kwargs=given) for _ in range(2)]
    (path, one), (_, other) = made
    assert path == "dask_kubernetes.operator.KubeCluster"
    assert one["custom_cluster_spec"]["metadata"]["name"] != other["custom_cluster_spec"]["metadata"]["name"]
    assert set(one) == {"custom_cluster_spec", "quiet", "namespace"}
    from dask_kubernetes.operator import KubeCluster
    from dask_kubernetes.operator.validation import validate_cluster_name

    inspect.signature(KubeCluster).bind(**one)
    validate_cluster_name(ComputeCluster(name="c" * 32).name + "-01234567")


@pytest.mark.parametrize(
    ("kind", "gpus", "lines"),
    [
        ("slurm", 2, ["#SBATCH -J prefect-batch-gpu-cluster", "#SBATCH --cpus-per-task=4", "#SBATCH --gres=gpu:2"]),
        ("pbs", 0, ["#PBS -l select=1:ncpus=4:mem=16GB"]),
        ("moab", 0, ["#PBS -l select=1:ncpus=4:mem=16GB"]),
        ("sge", 1, ["#$ -N prefect-batch-gpu-cluster", "#$ -l gpu=1"]),
        ("lsf", 1, ["#BSUB -n 4", '#BSUB -gpu "num=1"']),
        ("oar", 0, ["#OAR -l /nodes=1/core=4,walltime=00:30:00"]),
        ("htcondor", 2, ["MY.DaskWorkerCores = 4", "RequestGPUs = 2"]),
    ],
)
def test_job_scripts(kind: str, gpus: int, lines: list[str]):
    shape = Shape(instances=2, processes=4, threads=2, gpus=gpus)
    script = render(
        shape, type=kind, cluster_kwargs={"python": "/opt/python", "job_script_prologue": ["module load x"]}
    )
    assert [line for line in lines if line not in script.splitlines()] == []
    assert "module load x" in script
    # The last one counts: threads wait for scoring processes, and are no cores.
    command = next(line for line in script.splitlines() if "dask_worker tcp://SCHEDULER:8786" in line)
    assert command.rstrip("'\"").endswith("--nthreads 8")


def test_a_jobqueue_cluster_takes_what_it_is_given():
    from dask_jobqueue import SLURMCluster

    path, arguments = cluster(type="slurm", cluster_kwargs={"queue": "short", "account": "a1", "walltime": "01:00:00"})
    assert path == "dask_jobqueue.SLURMCluster"
    with SLURMCluster(**(arguments | {"n_workers": 0})) as made:
        assert "#SBATCH -p short" in made.job_script()
        assert "#SBATCH -t 01:00:00" in made.job_script()


def keywords(path: Path, name: str) -> set[str]:
    """Of a class's constructor, read from its source: its module may need packages of the provider's."""
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    made = next(
        node for cls in classes if cls.name == name for node in cls.body if getattr(node, "name", "") == "__init__"
    )
    assert isinstance(made, ast.FunctionDef)
    return {argument.arg for argument in (*made.args.args, *made.args.kwonlyargs)}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_cloud_classes_take_what_they_are_given(provider: str):
    spot = {"tier": "low_priority"} if PROVIDERS[provider].spot else {}
    given: dict[str, Any] = {"docker_image": "registry/scoring:1"}
    path, arguments = cluster(
        Shape(instances=2, gpus=1), type="cloud", provider=provider, size="big", cluster_kwargs=given, **spot
    )
    module, _, name = path.rpartition(".")
    found = importlib.util.find_spec("dask_cloudprovider")
    assert found is not None
    assert found.submodule_search_locations is not None
    root = Path(found.submodule_search_locations[0])
    (source,) = [p for p in (root / module.split(".")[1]).glob("*.py") if f"class {name}(" in p.read_text()]
    known = keywords(source, name) | keywords(root / "generic" / "vmcluster.py", "VMCluster")
    assert set(arguments) - known == set()
    assert "big" in arguments.values()


def test_clouds_need_an_image():
    with pytest.raises(InvalidDocument, match=r"cluster_kwargs\.docker_image, or environment\.image"):
        render(type="cloud", provider="aws")


def test_any_class():
    given = {"cluster_class": "dask_cuda.LocalCUDACluster", "cluster_kwargs": {"rmm_pool_size": "1GB"}}
    assert cluster(type="dask", **given) == ("dask_cuda.LocalCUDACluster", {"n_workers": 2, "rmm_pool_size": "1GB"})


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster_kind, "_is_missing", lambda name: True)  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(InvalidDocument, match=r"\(dask_jobqueue\): pip install 'prefect-batch\[jobqueue\]'$"):
        render(type="slurm")


def test_kinds_import_nothing_before_a_cluster_is_made():
    heavy = {"dask_jobqueue", "dask_kubernetes", "dask_cloudprovider", "asyncssh", "distributed"}
    code = (
        "import sys; from prefect_batch.blocks.compute import ComputeCluster, KINDS\n"
        "keys = {'address': {'address': 'tcp://x'}, 'ssh': {'hosts': ['a']}, 'cloud': {'provider': 'aws'},\n"
        "        'dask': {'cluster_class': 'a.B'}}\n"
        "[ComputeCluster(name='abc', type=kind, **keys.get(kind, {})).keeps for kind in KINDS]\n"
        f"print(*sys.modules.keys() & {heavy!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
