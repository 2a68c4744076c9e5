"""The Python client on a real server: what is made, read, changed and deleted, what jobs give, and what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from endpoints import Endpoints

from prefect_batch.interfaces.async_client import AsyncBatchClient
from prefect_batch.interfaces.client import BatchClient, load_batch_deployment, load_component, load_data, load_job
from prefect_batch.interfaces.entities import (
    AmlCompute,
    BatchDeployment,
    BatchEndpoint,
    Data,
    Datastore,
    Environment,
    Input,
    ModelBatchDeployment,
    Output,
    PipelineComponentBatchDeployment,
)
from prefect_batch.interfaces.job import Job
from prefect_batch.scoring.errors import (
    AlreadyExists,
    BatchError,
    InvalidDocument,
    JobFailed,
    NoServer,
    NotFound,
)

TABLE = "import pandas as pd\nreturn pd.DataFrame({'file': [Path(p).name for p in mini_batch], 'size': 7})"


@pytest.fixture
def client(endpoints: Endpoints) -> BatchClient:
    return BatchClient()


def test_an_endpoint_is_made_changed_and_deleted(client: BatchClient):
    made = client.batch_endpoints.begin_create_or_update(BatchEndpoint(name="Client-One", tags={"a": "b"})).result()
    assert (made.name, made.tags, made.defaults.deployment_name) == ("client-one", {"a": "b"}, None)
    client.batch_endpoints.begin_create_or_update(BatchEndpoint(name="client-one", description="First.")).wait()
    read = client.batch_endpoints.get("client-one")
    assert (read.description, read.tags) == ("First.", {"a": "b"})
    assert "client-one" in [each.name for each in client.batch_endpoints.list()]
    assert client.batch_endpoints.begin_delete("client-one").done()
    with pytest.raises(NotFound, match="client-one"):
        client.batch_endpoints.get("client-one")


def test_a_deployment_that_was_read_is_changed_without_its_files(
    client: BatchClient, script_deployment: Callable[..., Path], numbered_files: Callable[[int], Path]
):
    path = script_deployment(TABLE, endpoint="client-two", mini_batch_size=1)
    client.begin_create_or_update(BatchEndpoint(name="client-two"))
    client.batch_deployments.begin_create_or_update(load_batch_deployment(path), set_default=True)
    (path.parent / "code" / "score.py").unlink()
    read = client.batch_deployments.get("scripted", "client-two")
    assert isinstance(read, ModelBatchDeployment) and read.version == 1
    assert read.settings is not None and not isinstance(read.settings, dict)
    read.settings.mini_batch_size = 20
    changed = client.batch_deployments.begin_create_or_update(read).result()
    assert isinstance(changed, ModelBatchDeployment) and not isinstance(changed.settings, dict)
    assert changed.version == 2 and changed.settings and changed.settings.mini_batch_size == 20
    assert client.batch_deployments.begin_create_or_update(changed).result().version == 2
    changed.model = "elsewhere"
    with pytest.raises(InvalidDocument, match=r"^model: an update changes"):
        client.batch_deployments.begin_create_or_update(changed)
    assert [each.name for each in client.batch_deployments.list("client-two")] == ["scripted"]
    with pytest.raises(BatchError, match="is the default deployment"):
        client.batch_deployments.begin_delete("scripted", "client-two")


def test_deployments_of_both_forms_start_in_the_working_directory(
    client: BatchClient, script_deployment: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(script_deployment(TABLE).parent)
    client.begin_create_or_update(BatchEndpoint(name="client-three"))
    older = BatchDeployment(
        name="older",
        endpoint_name="client-three",
        code_path="code",
        scoring_script="score.py",
        mini_batch_size=3,
        instance_count=2,
    )
    made = client.batch_deployments.begin_create_or_update(older).result()
    assert isinstance(made, ModelBatchDeployment) and not isinstance(made.settings, dict) and made.settings
    assert (made.settings.mini_batch_size, made.settings.instance_count) == (3, 2)
    older.scoring_script = "nowhere.py"
    with pytest.raises(InvalidDocument, match=r"^deployment 'older': code_configuration.scoring_script: 'nowhere.py'"):
        client.batch_deployments.begin_create_or_update(older)
    newer = ModelBatchDeployment(name="newer", endpoint_name="client-three", settings={"mini_batch_sise": 3})
    with pytest.raises(InvalidDocument, match=r"mini_batch_sise is not a known key: did you mean mini_batch_size\?"):
        client.begin_create_or_update(newer)
    with pytest.raises(NotFound, match="client-nowhere"):
        older.scoring_script, older.endpoint_name = "score.py", "client-nowhere"
        client.begin_create_or_update(older)


def test_a_component_a_pipeline_of_it_and_a_job_of_its_file(client: BatchClient, tmp_path: Path):
    (tmp_path / "pipeline.yml").write_text(
        "name: client_pipeline\ntype: pipeline\ninputs:\n  words: {type: string, default: hello}\noutputs:\n"
        "  said: {}\njobs:\n  say:\n    type: command\n    inputs: {words: '${{parent.inputs.words}}'}\n"
        "    outputs: {said: '${{parent.outputs.said}}'}\n"
        "    component:\n      type: command\n      inputs: {words: {type: string}}\n      outputs: {said: {}}\n"
        "      command: echo '${{inputs.words}}' > ${{outputs.said}}/said.csv\n"
    )
    component = client.components.create_or_update(load_component(tmp_path / "pipeline.yml"))
    assert component.id == "azureml:client_pipeline:1" == client.components.get("client_pipeline").id
    client.begin_create_or_update(BatchEndpoint(name="client-four"))
    for name, given in (("registered", component), ("file", load_component(tmp_path / "pipeline.yml"))):
        deployment = PipelineComponentBatchDeployment(name=name, endpoint_name="client-four", component=given)
        made = client.batch_deployments.begin_create_or_update(deployment).result()
        assert isinstance(made, PipelineComponentBatchDeployment) and made.version == 1
    with pytest.raises(InvalidDocument, match=r"type 'integer' was given, and this input is of type string"):
        client.batch_endpoints.invoke(
            "client-four", deployment_name="file", inputs={"words": Input(type="integer", default=3)}
        )
    (tmp_path / "job.yml").write_text("type: pipeline\ncomponent: pipeline.yml\ninputs: {words: once}\n")
    job = client.create_or_update(load_job(tmp_path / "job.yml", params_override=[{"inputs.words": "twice"}]))
    assert isinstance(job, Job) and job.endpoint_name is None
    assert job.wait(timeout=120).status == "Completed", job.message
    assert list(job.outputs()) == ["said"]
    assert Path(job.outputs()["said"], "said.csv").read_text() == "twice\n"


def test_data_datastores_computes_and_environments(client: BatchClient, tmp_path: Path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").write_text("x\n1\n")
    (tmp_path / "data.yml").write_text("name: client-rows\npath: rows\n")
    data = client.data.create_or_update(load_data(tmp_path / "data.yml"))
    assert (data.id, data.version, data.type) == ("azureml:client-rows:1", "1", "uri_folder")
    with pytest.raises(AlreadyExists, match="has a version 1 already"):
        client.data.create_or_update(Data(name="client-rows", path=tmp_path / "rows", version="1"))
    client.data.archive("client-rows")
    assert client.data.list("client-rows") == []
    assert [each.archived for each in client.data.list("client-rows", include_archived=True)] == [True]
    client.data.restore("client-rows", "1")
    assert client.data.get("client-rows").id == data.id

    held = client.datastores.create_or_update(Datastore(name="client-lake", type="local", path=tmp_path))
    assert (held.id, held.credentials) == ("azureml://datastores/client-lake", None)
    secret = Datastore(name="client-s3", type="s3", bucket="b", credentials={"access_key_id": "k", "secret": "hidden"})
    assert "hidden" not in repr(secret)
    with pytest.raises(InvalidDocument) as error:
        client.datastores.create_or_update(secret)
    assert "hidden" not in str(error.value)
    client.datastores.delete("client-lake")

    client.begin_create_or_update(AmlCompute(name="client-cluster", max_instances=3, tier="LowPriority"))
    client.begin_create_or_update(AmlCompute(name="client-cluster", description="Cheap."))
    read = client.compute.get("client-cluster")
    assert (read.max_instances, read.tier, read.description) == (3, "low_priority", "Cheap.")
    assert {"client-cluster", "local"} <= {each.name for each in client.compute.list()}
    client.compute.begin_delete("client-cluster")

    (tmp_path / "conda.yml").write_text("dependencies: [python=3.11]\n")
    environment = client.create_or_update(Environment(name="client-env", conda_file=tmp_path / "conda.yml"))
    assert environment.conda_file == {"dependencies": ["python=3.11"]}


FORMATS = {
    "csv": {},
    "jsonl": {"output_file_name": "scores.jsonl.gz"},
    "folder": {"output_file_name": ""},
}


@pytest.fixture(scope="module")
def scored(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """An endpoint whose script gives a table, and its data."""
    folder = tmp_path_factory.mktemp("scored")
    (folder / "score.py").write_text(
        "from pathlib import Path\nimport pandas as pd\n\n\ndef init(): ...\n\n\ndef run(mini_batch):\n"
        "    return pd.DataFrame({'file': [Path(p).name for p in mini_batch], 'size': 7})\n"
    )
    (folder / "deployment.yml").write_text(
        "name: table\nendpoint_name: unused\ntype: model\ncode_configuration: {code: ., scoring_script: score.py}\n"
    )
    (folder / "data").mkdir()
    for number in range(3):
        (folder / "data" / f"{number}.txt").write_text("x")
    endpoints.deploy(folder / "deployment.yml", "client-tables")
    return "client-tables", folder / "data"


@pytest.mark.parametrize("kind", FORMATS)
def test_the_result_of_a_job_is_a_table(
    client: BatchClient, endpoints: Endpoints, scored: tuple[str, Path], kind: str, tmp_path: Path
):
    endpoint, data = scored
    ended = endpoints.run(endpoint, data, settings={"mini_batch_size": 1, **FORMATS[kind]})
    job = client.jobs.get(ended.id)
    expected = pd.DataFrame({"file": ["0.txt", "1.txt", "2.txt"], "size": [7, 7, 7]})
    pd.testing.assert_frame_equal(job.result(), expected, check_dtype=False)
    assert job.status == "Completed" and job.name == job.id == ended.id
    if kind == "csv":
        assert job.outputs() == {"score": str(ended.output)}
        written = client.jobs.download(job.name, download_path=tmp_path / "all", output_name="score")
        assert [path.read_bytes() for path in written] == [ended.predictions]
        with pytest.raises(NotFound, match="has no output 'scores': it has score"):
            job.result("scores")


def test_the_result_in_azure_mls_layout_has_no_names(
    client: BatchClient, endpoints: Endpoints, scored: tuple[str, Path]
):
    ended = endpoints.run(*scored, settings={"output_format": "azureml"})
    assert client.jobs.get(ended.id).result().values.tolist() == [["0.txt", 7], ["1.txt", 7], ["2.txt", 7]]


def test_a_job_that_failed_says_why(
    client: BatchClient, endpoints: Endpoints, scored: tuple[str, Path], tmp_path: Path
):
    (tmp_path / "empty").mkdir()
    ended = endpoints.run(scored[0], tmp_path / "empty")
    job = client.jobs.get(ended.id)
    assert job.wait().status == "Failed"
    with pytest.raises(JobFailed, match=r"is Failed: .* holds no file to score"):
        job.result()
    with pytest.raises(BatchError, match="has ended: it is Failed"):
        client.jobs.cancel(job.name)


def test_what_a_call_is_given(client: BatchClient, scored: tuple[str, Path], monkeypatch: pytest.MonkeyPatch):
    endpoint, data = scored
    monkeypatch.chdir(data.parent)
    job = client.batch_endpoints.invoke(
        endpoint,
        input=Input(path=["data", data], include="*.txt"),
        outputs={"anything": Output(path="out")},
        settings={"error_threshold": 3},
        params_override=[
            {"mini_batch_size": 2, "retry_settings.timeout": 60},
            {"compute.instance_count": 1, "job_name": "by hand"},
        ],
        experiment_name="first",
        idempotency_key="client-once",
    )
    with job.connection.open() as api:
        run = api.read_flow_run(job.id)
    assert run.parameters == {
        "endpoint": endpoint,
        "inputs": {"data": {"path": [str(data), str(data)], "include": ["*.txt"]}},
        "outputs": {"anything": {"path": str(data.parent / "out")}},
        "settings": {
            "error_threshold": 3,
            "mini_batch_size": 2,
            "retry_settings": {"timeout": 60},
            "instance_count": 1,
        },
    }
    assert (job.display_name, "experiment:first" in job.tags) == ("by hand", True)
    again = client.batch_endpoints.invoke(endpoint, input=data, idempotency_key="client-once")
    assert again.id == job.id
    job.cancel()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input": "nowhere"}, "input 'nowhere' does not exist"),
        ({"input": 3}, "names no data"),
        ({"inputs": {"mode": Input(type="string", default="a")}}, "inputs.mode is a literal value"),
        ({"input": "data", "inputs": {"data": "data"}}, "both name the data"),
        ({"input": "data", "settings": {"mini_batch_sise": 2}}, "did you mean mini_batch_size"),
        ({"input": "data", "deployment_name": "other"}, "it has table"),
    ],
)
def test_a_call_that_is_wrong_makes_no_job(
    client: BatchClient,
    scored: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, object],
    message: str,
):
    monkeypatch.chdir(scored[1].parent)
    before = len(client.batch_endpoints.list_jobs(scored[0]))
    with pytest.raises(BatchError, match=message) as error:
        client.batch_endpoints.invoke(scored[0], **given)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(error.value)
    assert len(client.batch_endpoints.list_jobs(scored[0])) == before


def test_another_server(endpoints: Endpoints):
    with pytest.raises(NoServer):
        BatchClient(api_url="http://127.0.0.1:9/api").jobs.list()
    with pytest.raises(BatchError, match="must be the address of a Prefect server"):
        BatchClient(api_url="nonsense").jobs.list()
    with pytest.raises(NotFound, match="no profile 'nowhere'"):
        BatchClient.from_config("nowhere")


def test_a_wait_gives_up_in_time_and_the_job_goes_on(client: BatchClient, scored: tuple[str, Path]):
    job = client.batch_endpoints.invoke(scored[0], input=scored[1])
    with pytest.raises(TimeoutError, match=f"job {job.id} is "):
        job.wait(timeout=0)
    assert len(job.result(timeout=120)) == 3
    for listed in (
        client.jobs.list(endpoint_name=scored[0]),
        client.batch_endpoints.list_jobs(scored[0]),
        client.batch_deployments.list_jobs(scored[0], name="table"),
        client.jobs.list(parent_job_name=job.name),
    ):
        assert job.id in [each.id for each in listed]
    assert client.batch_deployments.list_jobs(scored[0], name="other") == []


def test_asynchronously(endpoints: Endpoints, scored: tuple[str, Path], capsys: pytest.CaptureFixture[str]):
    async def main() -> int:
        client = AsyncBatchClient()
        poller = await client.batch_endpoints.begin_create_or_update(BatchEndpoint(name="client-async"))
        assert poller.result().name == "client-async"
        with pytest.raises(NotFound):
            await client.batch_endpoints.get("client-nowhere")
        job = await client.batch_endpoints.invoke(scored[0], input=scored[1])
        with pytest.raises(TimeoutError):
            await job.wait(timeout=0)
        table, listed = await asyncio.gather(job.result(), client.jobs.list(endpoint_name=scored[0]))
        assert job.id in [each.id for each in listed]
        await listed[0].stream()
        return len(table)

    assert asyncio.run(main()) == 3
    assert "Completed" in capsys.readouterr().out


def test_every_public_method_of_the_client_is_there_asynchronously(client: BatchClient):
    for name, operations in vars(client).items():
        for method in (each for each in dir(operations) if not each.startswith("_")):
            assert asyncio.iscoroutinefunction(getattr(getattr(AsyncBatchClient(), name), method))
