"""What people do wrong first: each mistake gets one line that says what to do next, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_batch.interfaces.cli import main
from prefect_batch.interfaces.local_server import LocalServer

USAGE: list[tuple[str, str]] = [
    ("nonsense", 'Unknown command "nonsense"'),
    ("endpoint shw heart", 'Did you mean "show"'),
    ("invoke", "--endpoint"),
    ("invoke heart --inptu data", "--inptu"),
    ("invoke heart --input a --input-type folder", "uri_folder"),
    ("invoke heart --instance-count many", "many"),
    ("endpoint show", "endpoint show --help"),
    ("endpoint show a b", "b"),
    ("endpoint list --output out/", "the place of a job's outputs is --output-path"),
    ("endpoint list -o csv", "write one of json, jsonc, table, tsv, yaml, none"),
    ("job list --limit 0", "--limit"),
    ("deployment create", "--file"),
    ("run -f x.yml --input data", "--output-path"),
    ("job show", "job show --help"),
]
REFUSED: list[tuple[str, str]] = [
    ("endpoint list --query a[", "no JMESPath expression"),
    ("endpoint list --query nofunction(@)", "--query"),
    ("invoke nowhere --input /", "endpoint 'nowhere' does not exist"),
    ("invoke nowhere -f missing.yml", "missing.yml: no such file"),
    ("invoke nowhere -f broken.yml", "broken.yml: line 2"),
    ("invoke nowhere -f list.yml", "must be a mapping"),
    ("invoke nowhere -f folder", "Is a directory"),
    ("endpoint create a_b", "must be 3 to 32 letters"),
    ("endpoint create -f folder", "Is a directory"),
    ("endpoint create -f broken.yml", "not valid YAML"),
    ("endpoint create -f binary.yml", "cannot be read"),
    ("endpoint create -f typo.yml", "did you mean description?"),
    ("endpoint create", "name is missing"),
    ("endpoint create good --set name", "write KEY=VALUE"),
    ("endpoint update nowhere --default x", "does not exist"),
    ("endpoint update nowhere", "give --default, --description, --set or --file"),
    ("endpoint show nowhere", "does not exist"),
    ("endpoint list-jobs nowhere", "does not exist"),
    ("endpoint delete nowhere", "Say so with --yes"),
    ("deployment create -f missing.yml -e heart", "missing.yml: no such file"),
    ("deployment create -f folder", "Is a directory"),
    ("deployment show nothing", "name the endpoint with --endpoint"),
    ("deployment update nothing", "give --name and --set, or --file"),
    ("deployment list -e nowhere", "does not exist"),
    ("job show nothing", "see `prefect-batch job list`"),
    ("job cancel nothing", "see `prefect-batch job list`"),
    ("job create -f missing.yml", "missing.yml: no such file"),
    ("job download nothing --all --output-name x", "give one of them"),
    ("job download nothing -p s3://bucket/x", "must be a folder on this machine"),
    ("compute show nothing", "prefect-batch compute create nothing"),
    ("compute create a --type slurm", "compute:"),
    ("compute update nothing", "give --max-instances or --set"),
    ("datastore show nothing", "make it with `prefect-batch datastore create nothing"),
    ("datastore create x1 --type ftp", "datastore:"),
    ("data show nothing", "prefect-batch data create"),
    ("data create -n nothing --path missing", "missing"),
    ("data create -n nothing --path . --type mltable", "uri_folder"),
    ("component show nothing", "prefect-batch component create"),
    ("environment create -n heart", "image and conda_file are missing"),
    ("environment show nothing", "prefect-batch environment create"),
    ("model list", "set MLFLOW_TRACKING_URI"),
    ("run -f missing.yml --input . --output-path out", "missing.yml: no such file"),
]


def said(command: str, code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (code, "")
    assert shown.err.startswith("Error: ") and shown.err.count("\n") == 1 and "Traceback" not in shown.err
    return shown.err


@pytest.fixture
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.yml").write_text("name: [heart\n")
    (tmp_path / "list.yml").write_text("- name\n")
    (tmp_path / "typo.yml").write_text("name: heart\ndescripton: x\n")
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00name")


@pytest.mark.parametrize(("command", "message"), USAGE)
def test_usage(command: str, message: str, capsys: pytest.CaptureFixture[str]):
    assert message in said(command, 2, capsys)


@pytest.mark.usefixtures("_folder", "server")
@pytest.mark.parametrize(("command", "message"), REFUSED)
def test_refused(command: str, message: str, capsys: pytest.CaptureFixture[str]):
    assert message in said(command, 1, capsys)


def test_there_are_enough():
    assert len({command for command, _ in (*USAGE, *REFUSED)}) >= 40


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9/api", "No Prefect server answers"),
        ("http://no-such-host.invalid/api", "No Prefect server answers"),
        ("127.0.0.1:4200/api", "PREFECT_API_URL must be"),
    ],
)
def test_no_server_there(url: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    with temporary_settings({PREFECT_API_URL: url}):
        assert message in said("endpoint list", 1, capsys)


@pytest.mark.parametrize("path", ["", "/docs", "/api/api"])
def test_an_address_that_is_no_api(server: LocalServer, path: str, capsys: pytest.CaptureFixture[str]):
    with temporary_settings({PREFECT_API_URL: server.api_url.removesuffix("/api") + path}):
        assert "not the API of a Prefect server" in said("job list", 1, capsys)
        assert "PREFECT_API_URL must be" in said("endpoint create good", 1, capsys)


def test_no_permission(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "a.yml"))

    monkeypatch.setattr(Path, "read_text", refuse)
    assert f"{tmp_path}/a.yml" in said(f"run -f {tmp_path}/a.yml --input . --output-path {tmp_path}/o", 1, capsys)
