"""README.md and docs/ are true: their commands run, their tables say what the code says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any, get_args

import pages
import pytest
from pydantic import BaseModel, ValidationError

from prefect_batch.blocks.pipeline_settings import JobPipelineSettings, PipelineSettings
from prefect_batch.blocks.settings import JobRetrySettings, JobSettings, ModelSettings, RetrySettings
from prefect_batch.interfaces.cli import app

README = pages.read("README.md")
# In the order of reading: what a page makes, the next may use.
PAGES = {
    page: pages.read(page)
    for page in (
        "README.md",
        "docs/data.md",
        "docs/pipelines.md",
        "docs/run-form.md",
        "docs/automation.md",
        "docs/python.md",
        "docs/rest.md",
        "docs/security.md",
        "docs/compute.md",
        "docs/environments.md",
        "docs/scale.md",
        "docs/interfaces.md",
        "docs/benchmarks.md",
        "docs/reliability.md",
    )
}
NOT_RUN = {
    "make demo",
    "make setup",
    "make test",
    'prefect-batch principal set-credentials ci --datastore lake --set sas_token="$SAS"',
    "prefect-batch serve",
    "prefect-batch serve --host 0.0.0.0 --auth auth.yml --certificate tls.crt --key tls.key",
    "prefect-batch server start",
    "prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api",
}


def test_only_what_cannot_run_is_not_run():
    text = "".join(PAGES.values())
    assert set(pages.not_run(text)) == NOT_RUN
    assert text.count("```bash") == len(pages.commands(text)) + len(pages.not_run(text))
    assert set(PAGES) == {"README.md"} | {
        path.relative_to(pages.ROOT).as_posix() for path in pages.ROOT.glob("docs/*.md")
    }


@pytest.mark.timeout(1400)
@pytest.mark.usefixtures("server")
def test_the_commands_run():
    """All of them, in one shell and in their order."""
    clone = pages.clone()
    done = pages.run(pages.commands("".join(PAGES.values())), clone, seconds=1350)
    assert done.stderr.count("Completed: 150 of 150 files scored, 300 rows") == 9
    assert done.stderr.count("Completed: 230 of 230 files scored, 460 rows") == 1
    assert done.stderr.count("Completed: 100 of 100 files scored, 100 rows") == 2
    assert "row,prediction,file_name\n0,benign,patients-000.csv\n" in done.stdout
    assert "file,digit\nimage-000.png," in done.stdout
    assert (clone / "cancer" / "azure" / "predictions.csv").read_text().startswith("0,benign,patients-000.csv\n")
    default = subprocess.run(
        [clone / ".venv/bin/prefect-batch", "endpoint", "show", "default"], capture_output=True, text=True, check=True
    )
    assert "called by           prefect deployment run endpoint/default" in default.stdout


def table(first_column: str, text: str = README) -> list[list[str]]:
    """The rows of the table whose heading starts with this."""
    after = text.split(f"\n| {first_column} |", 1)[1].splitlines()[2:]
    rows: list[list[str]] = []
    for line in after:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def leaves(model: type[BaseModel], nested: type[BaseModel]) -> dict[str, Any]:
    """Fields by key, with those of retry_settings one by one."""
    inner = {f"retry_settings.{key}": field for key, field in nested.model_fields.items()}
    return {key: field for key, field in model.model_fields.items() if key != "retry_settings"} | inner


SETTINGS = leaves(ModelSettings, RetrySettings)
ROWS = {row[0].strip("`"): row[1:] for row in table("key")}


def test_settings_keys_and_overrides():
    assert list(ROWS) and set(ROWS) == set(SETTINGS)
    assert {key for key, row in ROWS.items() if row[3] == "yes"} == set(leaves(JobSettings, JobRetrySettings))
    assert {row[3] for row in ROWS.values()} == {"yes", "no"}


@pytest.mark.parametrize("key", SETTINGS)
def test_setting_default(key: str):
    value: Any = ModelSettings()
    for part in key.split("."):
        value = getattr(value, part)
    ending = dict.fromkeys(("output_format", "output_compression"), "by the file's ending")
    words = ending | dict.fromkeys(("environment_variables", "output_columns", "memory_limit"), "none")
    words["output_file_name"] = f"`{ModelSettings().file_name}`"
    assert ROWS[key][0] == words.get(key, f"`{value}`")


def accepts(key: str, value: Any) -> bool:
    for part in reversed(key.split(".")):
        value = {part: value}
    try:
        ModelSettings.model_validate(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("key", SETTINGS)
def test_setting_range(key: str):
    allowed = ROWS[key][1]
    if key == "mini_batch_size":
        assert all(accepts(key, value) for value in (1, *re.findall(r'`"([^"]+)"`', allowed)))
        assert not any(accepts(key, value) for value in (0, "0 rows", "64 bits", "many"))
    elif key == "memory_limit":
        assert all(accepts(key, value) for value in re.findall('"([^"]+)"', allowed))
        assert not any(accepts(key, value) for value in (0, 2**31, "0 GiB", "2", "much"))
    elif key == "output_columns":
        assert all(accepts(key, value) for value in ("all", "none", "id", ["a", "b"], {"input": "id", "row": False}))
        assert not accepts(key, {"inputs": "id"})
    elif match := re.fullmatch(r"(-?\d+) or more(, or `\"0%\"` to `\"100%\"`)?", allowed):
        least = int(match[1])
        assert accepts(key, least) and not accepts(key, least - 1)
        assert [accepts(key, text) for text in ("0%", "100%")] == [bool(match[2])] * 2
        assert not accepts(key, "101%")
    elif allowed == "more than 0":
        assert not accepts(key, 0) and accepts(key, 0.5) and accepts(key, 10**9)
    elif match := re.fullmatch(r"more than (\d+), up to (\d+)", allowed):
        assert not accepts(key, int(match[1])) and accepts(key, int(match[2])) and not accepts(key, int(match[2]) + 1)
    elif allowed.startswith("`"):
        words = re.findall(r"`([^`]+)`", allowed)
        assert set(words) == literals(SETTINGS[key].annotation)
    elif key == "output_file_name":
        assert accepts(key, "a.csv") and accepts(key, "") and not accepts(key, "a/b.csv")
    else:
        assert key == "environment_variables"
        assert accepts(key, {"A": "b"}) and not accepts(key, ["A"])


def test_settings_of_pipelines():
    rows = {row[0].strip("`"): row[1:] for row in table("key", PAGES["docs/pipelines.md"])}
    assert set(rows) == set(PipelineSettings.model_fields)
    assert {key for key, row in rows.items() if row[3] == "yes"} == set(JobPipelineSettings.model_fields)
    defaults = {key: "none" if value is None else f"`{value}`" for key, value in PipelineSettings()}
    assert {key: row[0] for key, row in rows.items()} == defaults


def literals(annotation: Any) -> set[str]:
    """The texts of a Literal, wherever it is in an annotation."""
    if isinstance(annotation, str):
        return {annotation}
    return set().union(*(literals(argument) for argument in get_args(annotation)), set())


def test_commands_are_all_listed():
    def commands(current: Any, path: list[str]) -> list[str]:
        names = [name for name in current if not name.startswith(("-", "batch-"))]  # the latter are second names
        return [leaf for n in names for leaf in commands(current[n], [*path, n])] if names else [" ".join(path)]

    listed = [row[0].strip("`") for row in table("command")]
    assert sorted(listed) == sorted(commands(app, []))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str):
    assert pages.broken_links(page) == []


@pytest.mark.parametrize(
    ("arguments", "code"), [(["nonsense"], 2), (["run", "-f", "nowhere.yml"], 2), (["--version"], 0)]
)
def test_exit_codes(cli: Callable[..., subprocess.CompletedProcess[str]], arguments: list[str], code: int):
    assert f" {code}: " in README.split("**Exit codes.**")[1].split("\n\n")[0]
    cli(*arguments, code=code)
