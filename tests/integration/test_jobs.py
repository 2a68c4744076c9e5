"""Many files, many jobs, outputs and overrides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pandas as pd
import pytest
from endpoints import Endpoints, task_run_states, until

from prefect_batch.flows.endpoint import endpoint as endpoint_flow

Write = Callable[..., Path]
Files = Callable[[int], Path]

DIGITS_RUN = """
from PIL import Image
import numpy
rows = []
for path in mini_batch:
    try:
        pixels = numpy.asarray(Image.open(path))
    except Exception as error:
        print("cannot read", path, error)
        continue
    rows.append({"file": Path(path).name, "ink": int(pixels.sum())})
import pandas
return pandas.DataFrame(rows)
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's 1,797 digits as PNG files, twenty of them cut short."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    for number, image in enumerate(load_digits().images):
        path = folder / f"digit-{number:04d}.png"
        Image.fromarray(image.astype("uint8")).save(path)
        if number % 90 == 7:
            path.write_bytes(path.read_bytes()[:20])
    assert len(list(folder.iterdir())) == 1797
    return folder


@pytest.mark.parametrize(("threshold", "state"), [(20, "Completed"), (19, "Failed")])
def test_digits(endpoints: Endpoints, script_deployment: Write, digits: Path, threshold: int, state: str):
    path = script_deployment(DIGITS_RUN, mini_batch_size=50, max_concurrency_per_instance=2, error_threshold=threshold)
    endpoints.deploy(path, "digits")
    ended = endpoints.run("digits", digits)
    assert ended.state == state
    if state == "Completed":
        corrupt = [f"digit-{n:04d}.png" for n in range(1797) if n % 90 == 7]
        assert [error["item"] for error in ended.errors] == corrupt
        assert ended.summary["failed"] == len(corrupt) == 20
        frame = pd.read_csv(ended.output / "predictions.csv")
        assert len(frame) == 1777 and frame["file"].is_monotonic_increasing
    else:
        assert "error_threshold allows 19" in ended.message


def test_two_thousand_files(endpoints: Endpoints, cancer_model: Path, model_deployment: Write, tmp_path: Path):
    from sklearn.datasets import load_breast_cancer

    frame = load_breast_cancer(as_frame=True).data
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(2000):
        start = number % 560
        frame.iloc[start : start + 5].to_csv(folder / f"{number:04d}.csv", index=False)
    endpoints.deploy(model_deployment(cancer_model, mini_batch_size=10, max_concurrency_per_instance=2), "many")
    ended = endpoints.run("many", folder)
    assert (ended.state, ended.summary["rows"], ended.summary["mini_batches"]) == ("Completed", 10_000, 200)
    output = pd.read_csv(ended.output / "predictions.csv")
    assert list(output["file_name"].unique()) == [f"{n:04d}.csv" for n in range(2000)]
    assert list(output["row"]) == list(range(5)) * 2000


def test_two_jobs_at_once_and_a_switched_default(
    endpoints: Endpoints, script_deployment: Write, numbered_files: Files, cli: Callable[..., Any]
):
    data = numbered_files(6)
    for name in ("red", "blue"):
        run = f"return ['{name} ' + Path(p).name for p in mini_batch]"
        endpoints.deploy(script_deployment(run, name=name), "colours", set_default=name == "red")
    first, second = (endpoints.invoke("colours", data) for _ in range(2))
    by_name = endpoints.invoke("colours", data, deployment="blue")
    ended = [endpoints.wait(job) for job in (first, second, by_name)]
    assert [one.state for one in ended] == ["Completed"] * 3
    assert [one.predictions.split()[1] for one in ended] == [b"red", b"red", b"blue"]
    assert len({one.record["root"] for one in ended}) == 3
    cli("endpoint", "update", "colours", "--default", "blue")
    assert endpoints.run("colours", data).predictions.split()[1] == b"blue"


def test_a_deployment_keeps_its_code_and_its_settings(
    endpoints: Endpoints, script_deployment: Write, numbered_files: Files
):
    path = script_deployment("return ['old' for _ in mini_batch]", mini_batch_size=3)
    made = endpoints.deploy(path, "frozen")
    script = path.parent / "code" / "score.py"
    script.write_text(script.read_text().replace("old", "new"))
    overrides = {"mini_batch_size": 1, "output_file_name": "out.csv", "logging_level": "debug"}
    ended = endpoints.run("frozen", numbered_files(3), settings=overrides)
    assert (ended.output / "out.csv").read_text() == "prediction\nold\nold\nold\n"
    assert (ended.summary["mini_batches"], ended.record["settings"]["logging_level"]) == (3, "debug")
    assert ended.record["overrides"] == overrides
    assert ended.record["deployment"]["settings"]["mini_batch_size"] == 3
    again = endpoints.deploy(path, "frozen")
    assert (made.version, again.version) == (1, 2)
    assert endpoints.run("frozen", numbered_files(2)).predictions == b"prediction\nnew\nnew\n"


def test_output_formats(endpoints: Endpoints, script_deployment: Write, numbered_files: Files):
    run = """
    import pandas
    return pandas.DataFrame({"name": [Path(p).stem for p in mini_batch], "text": 'a "quoted", b', "n": 0.1})
    """
    endpoints.deploy(script_deployment(run, mini_batch_size=2), "formats")
    data = numbered_files(5)
    names = [f"item-{n:05d}" for n in range(5)]
    for file_name, read in {
        "a.csv": pd.read_csv,
        "a.parquet": pd.read_parquet,
        "a.jsonl": lambda path: pd.read_json(path, lines=True),
    }.items():
        ended = endpoints.run("formats", data, settings={"output_file_name": file_name})
        frame = read(ended.output / file_name)
        assert frame.to_dict("list") == {"name": names, "text": ['a "quoted", b'] * 5, "n": [0.1] * 5}


def test_azureml_layout(endpoints: Endpoints, cancer_model: Path, cancer_data: Path, model_deployment: Write):
    path = model_deployment(cancer_model, output_format="azureml", mini_batch_size=2)
    endpoints.deploy(path, "azure-layout")
    ended = endpoints.run("azure-layout", cancer_data)
    frame = pd.read_csv(ended.output / "predictions.csv", names=["row", "prediction", "file"])
    assert len(frame) == 569
    assert list(frame["file"].unique()) == [f"cancer-{n}.csv" for n in range(6)]
    assert list(frame["row"][:101]) == [*range(100), 0]


def test_summary_only_and_what_the_script_writes(endpoints: Endpoints, script_deployment: Write, numbered_files: Files):
    run = """
    for path in mini_batch:
        (Path(os.environ["AZUREML_BI_OUTPUT_PATH"]) / (Path(path).stem + ".out")).write_text("x")
    return mini_batch
    """
    endpoints.deploy(script_deployment(run, output_action="summary_only"), "summary")
    ended = endpoints.run("summary", numbered_files(3))
    assert (ended.state, ended.summary["succeeded"]) == ("Completed", 3)
    assert sorted(p.name for p in ended.output.iterdir()) == [f"item-{n:05d}.out" for n in range(3)]


def test_a_taken_output_is_refused_before_compute(
    endpoints: Endpoints, script_deployment: Write, numbered_files: Files, tmp_path: Path
):
    endpoints.deploy(script_deployment("return mini_batch"), "taken")
    target = tmp_path / "results"
    first = endpoints.run("taken", numbered_files(2), outputs={"score": str(target)})
    assert first.state == "Completed"
    before = (target / "predictions.csv").read_bytes()
    second = endpoints.run("taken", tmp_path / "items-2", outputs={"score": str(target)})
    assert second.state == "Failed" and "exists already and is not overwritten" in second.message
    assert not second.folder.exists()
    assert (target / "predictions.csv").read_bytes() == before
    assert [p.name for p in target.iterdir()] == ["predictions.csv"]


def test_input_that_is_not_there(endpoints: Endpoints, script_deployment: Write, tmp_path: Path):
    endpoints.deploy(script_deployment("return mini_batch"), "inputs")
    (tmp_path / "empty").mkdir()
    for data, message in [
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path / "empty", "holds no file to score"),
    ]:
        ended = endpoints.run("inputs", data)
        assert ended.state == "Failed" and message in ended.message
        assert not (ended.folder / "parts").exists()


def test_a_call_that_the_server_did_not_check(endpoints: Endpoints, script_deployment: Write, numbered_files: Files):
    """A caller may switch the server's check off; the flow's own says the same on one line."""
    path = script_deployment("return mini_batch", output_action="summary_only")
    endpoints.deploy(path, "unchecked")
    data = numbered_files(1)
    for parameters, message in [
        ({"settings": {"mini_batch_size": 0}}, "parameters: settings.mini_batch_size: 0 should be"),
        ({"settings": {"mini_batch": 1}}, "settings.mini_batch is not a known key"),
        ({"settings": {"output_file_name": "a.csv"}}, "output_file_name has no meaning with"),
        ({"outputs": {"score": 5}}, "outputs.score: 5 is not understood"),
        ({"deployment": "other"}, "Deployment 'other' not found"),
        ({"inputs": {"a": str(data), "b": str(data)}}, "takes one data input, 2 were given"),
        ({"inputs": None}, "inputs: nothing was given"),
    ]:
        state: Any = endpoint_flow(
            **{"endpoint": "unchecked", "inputs": {"data": str(data)}, **parameters}, return_state=True
        )
        assert state.is_failed() and message in state.message, state.message
        assert "\n" not in state.message


def test_logs_reach_the_job_folder_and_the_prefect_log(
    endpoints: Endpoints, script_deployment: Write, numbered_files: Files
):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter

    run = """
    import logging
    print("printed", mini_batch[0])
    logging.getLogger("mine").warning("warned")
    logging.getLogger("mine").info("told")
    return mini_batch
    """
    endpoints.deploy(script_deployment(run, logging_level="warning"), "logging")
    job = endpoints.invoke("logging", numbered_files(1))
    ended = endpoints.wait(job)
    (log,) = (ended.folder / "logs").rglob("process000.log")
    assert "printed" in log.read_text() and "WARNING mine: warned" in log.read_text()

    def messages(_: object) -> list[str]:
        with get_client(sync_client=True) as client:
            found = client.read_logs(LogFilter.model_validate({"level": {"ge_": 0}}), limit=200, sort="TIMESTAMP_DESC")
        return [entry.message for entry in found if "mine: warned" in entry.message]

    assert endpoints.until(job, "its log", messages) == ["mine: warned"]


def _ends(states: list[str]) -> bool:
    return states.count("Crashed") >= 2 and set(states) <= {"Completed", "Crashed"}


def test_a_shard_that_kills_its_workers_is_counted_alone(
    endpoints: Endpoints, script_deployment: Write, numbered_files: Files
):
    run = """
    if "item-00002" in mini_batch[0]:
        import signal
        os.kill(worker_pid(), signal.SIGKILL)
        time.sleep(60)
    return [Path(p).name for p in mini_batch]
    """
    endpoints.deploy(script_deployment(run, mini_batch_size=1), "killer")
    ended = endpoints.run("killer", numbered_files(5))
    assert ended.state == "Completed"
    assert [(e["item"], e["error_type"]) for e in ended.errors] == [("item-00002.txt", "KilledWorker")]
    assert len(ended.predictions.splitlines()) == 1 + 4
    # The shard that killed its workers, and what was left of it. Rows of others may have died with those workers.
    until("an end of each task run", lambda: _ends(task_run_states(ended.id)))


def test_a_piece_that_kills_its_workers_is_counted_alone(
    endpoints: Endpoints, script_deployment: Write, tmp_path: Path
):
    """While it is scored its neighbours are staged on the same worker, and die with it."""
    run = """
    texts = [Path(p).read_text().split() for p in mini_batch]
    if "poison" in texts[0]:
        import signal
        os.kill(worker_pid(), signal.SIGKILL)
        time.sleep(60)
    return pd.DataFrame({"text": [row for text in texts for row in text[1:]]})
    """
    rows = ["poison" if number == 25 else f"row-{number:03d}" for number in range(60)]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "big.csv").write_text("\n".join(["text", *rows, ""]))
    path = script_deployment(run, mini_batch_size="10 rows")
    code = path.parent / "code" / "score.py"
    code.write_text("import pandas as pd\n" + code.read_text())
    endpoints.deploy(path, "piece-killer")
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        ended = endpoints.run("piece-killer", tmp_path / "in")
    assert ended.state == "Completed", ended.message
    assert [(e["item"], e["error_type"]) for e in ended.errors] == [("big.csv rows 20-29", "KilledWorker")]
    assert ended.predictions.decode().split() == ["text", *rows[:20], *rows[30:]]


def test_a_running_dask_scheduler(
    endpoints: Endpoints, script_deployment: Write, numbered_files: Files, cli: Callable[..., Any]
):
    from distributed import LocalCluster

    path = script_deployment("return [worker_pid() for _ in mini_batch]", compute="azureml:cluster", mini_batch_size=1)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        cli("compute", "create", "cluster", "--type", "address", "--address", cluster.scheduler_address)
        endpoints.deploy(path, "address")
        workers = {worker["pid"] if isinstance(worker, dict) else worker for worker in _pids(cluster)}
        ended = endpoints.run("address", numbered_files(6))
        assert ended.state == "Completed"
        assert {int(line) for line in ended.predictions.split()[1:]} <= workers
        assert _children(workers) == [], "scoring processes outlived their job on a cluster that goes on"
    cli("compute", "delete", "cluster", "--yes")


def _pids(cluster: Any) -> list[int]:
    from distributed import Client

    with Client(cluster) as client:
        import os

        return list(client.run(os.getpid).values())


def _children(pids: set[int]) -> list[str]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
        except OSError:
            continue
        parent = int(text.rsplit(")", 1)[1].split()[1])
        if parent in pids:
            command = (status.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            found += [command] if "scoring.process" in command else []
    return found


def test_the_record_tells_what_ran(endpoints: Endpoints, script_deployment: Write, numbered_files: Files):
    endpoints.deploy(script_deployment("return mini_batch"), "record")
    ended = endpoints.run("record", numbered_files(2))
    record = ended.record
    assert record["deployment"]["version"] == 1 and record["endpoint"] == "record"
    assert len(record["deployment"]["code_snapshot"]["digest"]) == 64
    assert {"prefect", "dask", "mlflow", "python"} <= set(record["versions"])
    assert Path(record["input"]["places"][0]["location"]["url"]).is_absolute()
    assert Path(record["output"]["url"]).is_absolute()
    assert json.loads((ended.folder / "plan.json").read_text())["items"] == 2
