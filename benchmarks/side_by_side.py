"""The same files and models, scored by us and by what a user would pick instead; each as its own users write it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import data
import measuring
from bench import PEERS, Bench, Result
from measuring import BenchmarkFailed, Taken

CONTENDERS = {
    "loop": ("plain", "loop.py"),
    "dask": ("plain", "dask_futures.py"),
    "prefect": ("plain", "prefect_tasks.py"),
    "ray": ("ray", "ray_data.py"),
    "spark": ("spark", "spark_udf.py"),
}
"""By name: its environment and its script."""
TITLES = {
    "ours": "prefect-batch",
    "loop": "a loop in one process",
    "dask": "plain Dask futures",
    "prefect": "plain Prefect with DaskTaskRunner",
    "ray": "Ray Data",
    "spark": "Spark",
    "mlflow": "mlflow models predict",
}
SELDOM = {("images", "prefect")}
"""What takes so long, nine minutes, that it is run in the last round only."""
SCRIPT = """
import json, os
from pathlib import Path

from images import classify, session


def init():
    global network
    network = session(Path(os.environ["AZUREML_MODEL_DIR"]) / "images-model")


def run(mini_batch):
    found = [(Path(path).name, classify(network, Path(path).read_bytes())) for path in mini_batch]
    return [f"{name},{kind}" for name, kind in found if kind is not None]
"""


def measure(bench: Bench, workload: data.Workload) -> Result:
    """Runs of each contender, interleaved: one of each, again and again; of what is SELDOM run, one."""
    files = data.made(bench.cache, workload, bench.share)
    model = data.image_model(bench.cache) if workload.kind == "images" else data.boosting_model(bench.cache)
    _deploy(bench, workload, model)
    contenders = ["ours", *CONTENDERS, *(["mlflow"] if workload.name == "large" else [])]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for number in range(bench.repeat):
        for name in contenders:
            if (workload.name, name) in SELDOM and number < bench.repeat - 1:
                continue
            taken = _one(bench, name, workload, files, model)
            runs[name].append(taken.plain())
            bench.say(f"{workload.name} {number + 1}/{bench.repeat} {name}: {taken.wall:.1f} s, {taken.busy:.1f} busy")
    return runs


def _deploy(bench: Bench, workload: data.Workload, model: Path) -> None:
    settings = {"mini_batch_size": workload.mini_batch_size, "max_concurrency_per_instance": 2}
    document: dict[str, Any] = {"settings": settings, "model": str(model)}
    if workload.kind != "images":
        bench.ours.deploy(workload.name, document)
        return
    document |= {"code_configuration": {"code": ".", "scoring_script": "score.py"}}
    bench.ours.deploy(workload.name, document, score=SCRIPT.lstrip(), images=(PEERS / "images.py").read_text())


def _one(bench: Bench, name: str, workload: data.Workload, files: Path, model: Path) -> Taken:
    out = bench.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if name == "ours":
        taken, summary = bench.ours.run(workload.name, files, out / "ours")
        _check(name, workload, files, summary["rows"])
        return taken
    if name == "mlflow":
        command: list[str | Path] = [bench.python("plain").with_name("mlflow"), "models", "predict", "-m", model]
        command += ["-t", "csv", "--env-manager", "local", "-i", files / "all.csv", "-o", out / "predictions.json"]
    else:
        environment, script = CONTENDERS[name]
        command = [bench.python(environment), PEERS / script, workload.kind, files, model, out]
    measuring.at_rest()
    taken, _ = measuring.run(command, bench.ours.env | {"PYTHONUNBUFFERED": "1"}, bench.work)
    if name != "mlflow":
        _check(name, workload, files, sum(_rows(path) for path in out.rglob("*.csv") if path.is_file()))
    return taken


def _rows(path: Path) -> int:
    """Lines without the header. Ray and Spark write one for each file, too."""
    with path.open("rb") as stream:
        return max(sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b"")) - 1, 0)


def _check(name: str, workload: data.Workload, files: Path, rows: int) -> None:
    """A contender that is fast because it leaves something out is none. Raises BenchmarkFailed."""
    expected = expected_rows(workload, files)
    if rows != expected:
        raise BenchmarkFailed(f"{workload.name}: {name} wrote {rows} rows, not {expected}")


def expected_rows(workload: data.Workload, files: Path) -> int:
    """Of the files together; images that are whole."""
    kept = files.with_suffix(".json")
    if not kept.exists():
        kept.write_text(json.dumps(sum(_count(workload.kind, path) for path in files.iterdir())))
    return json.loads(kept.read_text())


def _count(kind: str, path: Path) -> int:
    if kind == "csv":
        return _rows(path)
    if kind == "parquet":
        import pyarrow.parquet as pq

        return pq.ParquetFile(path).metadata.num_rows
    return int(path.read_bytes().endswith(b"IEND\xaeB\x60\x82"))
