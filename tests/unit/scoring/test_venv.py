"""Environments are built for real, of a package that this test makes: no index is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from prefect_batch.scoring import builder, venv
from prefect_batch.scoring.errors import BuildFailed
from prefect_batch.scoring.venv import Recipe

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the packages `tiny` 1.0 and 2.0, the only ones that there are; environments go beside it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version in ("1.0", "2.0"):
        about = f"tiny-{version}.dist-info"
        with zipfile.ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("tiny.py", f"VERSION = {version!r}\n")
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(venv.CACHE, str(tmp_path / "environments"))
    # For pip; uv learns it from there.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture(params=["uv", "pip"])
def installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pip":
        monkeypatch.setattr(builder, "find_uv", lambda: None)
    elif builder.find_uv() is None:
        pytest.skip("uv is not installed")
    return request.param


def version_in(python: str) -> str:
    code = "import tiny; print(tiny.VERSION)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_built_once_and_found_again(installer: str):
    said: list[str] = []
    recipe = Recipe(HERE, ("tiny",), constraints=("tiny<2",))
    assert venv.find(recipe) is None
    built = venv.build(recipe, said.append)
    assert version_in(built.executable) == "1.0" and built.packages["tiny"] == "1.0"
    assert built.version.startswith(HERE)
    assert any(line.startswith(f"$ {'uv pip install' if installer == 'uv' else 'python'}") for line in said)
    assert "was built in" in said[-1]
    again: list[str] = []
    assert venv.build(recipe, again.append) == built == venv.find(recipe)
    assert again == []


def test_what_is_asked_otherwise_is_another():
    one, other = venv.build(Recipe(HERE, ("tiny<2",)), print), venv.build(Recipe(HERE, ("tiny",)), print)
    assert (version_in(one.executable), version_in(other.executable)) == ("1.0", "2.0")


def test_a_requirement_that_is_not_to_be_had_is_named_with_the_whole_log(installer: str):
    said: list[str] = []
    recipe = Recipe(HERE, ("tiny==3.0",))
    with pytest.raises(BuildFailed, match=r"the environment cannot be built: `.* exited with 1:\n[^$]*tiny") as error:
        venv.build(recipe, said.append)
    assert str(error.value).splitlines()[-1] in said
    assert venv.find(recipe) is None and not (venv.cache() / recipe.digest).exists()


def test_what_a_scoring_process_needs_is_missed():
    with pytest.raises(BuildFailed, match="lacks pandas, pyarrow, which scoring processes import: add them"):
        venv.build(Recipe(HERE, ("tiny",)), print, ["tiny", "pandas", "pyarrow"])


def test_two_builders_at_once_build_once():
    recipe, said, built = Recipe(HERE, ("tiny",)), list[str](), list[object]()
    threads = [threading.Thread(target=lambda: built.append(venv.build(recipe, said.append))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 4 and len(set(map(repr, built))) == 1
    assert sum("was built in" in line for line in said) == 1


def test_what_a_killed_builder_left_is_built_anew():
    recipe = Recipe(HERE, ("tiny==1.0",))
    left = venv.cache() / recipe.digest
    (left / "venv").mkdir(parents=True)
    (left / "venv" / "half").touch()
    assert version_in(venv.build(recipe, print).executable) == "1.0"
    assert not (left / "venv" / "half").exists()


def test_nothing_of_this_python_leaks_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    (tmp_path / "tiny.py").write_text("VERSION = 'leaked'\n")
    built = venv.build(Recipe(HERE, ("tiny==1.0",)), print)
    assert "pytest" not in built.packages
    inside = builder.within(built.executable, os.environ)
    assert "PYTHONPATH" not in inside and "VIRTUAL_ENV" not in inside
    assert inside["PATH"].split(os.pathsep)[0] == str(Path(built.executable).parent)


def test_an_interpreter_that_is_there():
    found = venv.inspect(sys.executable)
    assert found.version.startswith(HERE) and "pytest" in found.packages
    with pytest.raises(BuildFailed, match=r"/nowhere/python is no Python that can be started here: .*No such file"):
        venv.inspect("/nowhere/python")
    with pytest.raises(BuildFailed, match="/bin/false is no Python"):
        venv.inspect("/bin/false")


def test_an_old_python_is_refused():
    with pytest.raises(BuildFailed, match=r"/opt/python is Python 3\.9\.2: scoring processes need 3\.10 or newer"):
        venv.check(venv.Interpreter("/opt/python", "3.9.2", {}), [])


def test_no_such_python(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(builder, "find_uv", lambda: None)
    with pytest.raises(BuildFailed, match=r"no Python 3\.99 was found on this machine: install it"):
        venv.build(Recipe("3.99", ()), print)


def test_pruned(tmp_path: Path):
    used, unused = Recipe(HERE, ("tiny==1.0",)), Recipe(HERE, ("tiny==2.0",))
    venv.build(used, print)
    venv.build(unused, print)
    os.utime(venv.cache() / unused.digest / "built.json", (0, 0))
    left = Recipe(HERE, ("left",)).digest
    (venv.cache() / left).mkdir()
    (venv.cache() / "photos").mkdir()
    assert sorted(venv.prune(30)) == sorted([left, unused.digest])
    assert venv.find(used) is not None and venv.find(unused) is None
    assert (venv.cache() / "photos").exists()  # the folder is one that a user named


@pytest.mark.parametrize("lost", ["venv/bin/python", "built.json"])
def test_what_was_damaged_is_built_anew(lost: str):
    recipe = Recipe(HERE, ("tiny==1.0",))
    folder = Path(venv.build(recipe, print).executable).parents[2]
    (folder / lost).unlink()
    if lost == "built.json":
        (folder / lost).touch()
    assert venv.find(recipe) is None
    assert version_in(venv.build(recipe, print).executable) == "1.0"


def test_an_index_in_the_requirements_counts(installer: str, wheels: Path, monkeypatch: pytest.MonkeyPatch):
    """Instead of that of the machine, for uv as for pip."""
    for version in ("1.0", "2.0"):
        folder = wheels / version / "tiny"
        folder.mkdir(parents=True)
        name = f"tiny-{version}-py3-none-any.whl"
        (folder / name).write_bytes((wheels / name).read_bytes())
        (folder / "index.html").write_text(f'<a href="{name}">{name}</a>')
    one, two = ((wheels / version).as_uri() for version in ("1.0", "2.0"))
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", two)
    assert version_in(venv.build(Recipe(HERE, (f"--index-url {one}", "tiny")), print).executable) == "1.0"
    assert version_in(venv.build(Recipe(HERE, (f"--extra-index-url {one}", "tiny")), print).executable) == "2.0"


def test_what_tells_pip_or_uv_of_another_place(installer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name, value in {"PIP_TARGET": str(tmp_path / "t"), "PIP_USER": "1", "UV_PROJECT": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    assert version_in(venv.build(Recipe(HERE, ("tiny",)), print).executable) == "2.0"


def test_a_login_does_not_show_in_the_log(installer: str, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"TOKEN": "s3cret", "PIP_RETRIES": "0", "UV_HTTP_RETRIES": "0"}.items():
        monkeypatch.setenv(name, value)
    said: list[str] = []
    for login in ("${TOKEN}", "me:${TOKEN}"):
        with pytest.raises(BuildFailed) as error:
            venv.build(Recipe(HERE, (f"a @ http://{login}@127.0.0.1:9/a-1.0-py3-none-any.whl",)), said.append)
        assert "127.0.0.1" in str(error.value) and "s3cret" not in str(error.value) + "\n".join(said)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"PIP_INDEX_URL": "https://one/simple", "PIP_TRUSTED_HOST": "one"},
            {"UV_DEFAULT_INDEX": "https://one/simple", "UV_INSECURE_HOST": "one"},
        ),
        (
            {"PIP_EXTRA_INDEX_URL": "https://two/simple https://three/simple"},
            {"UV_INDEX": "https://two/simple https://three/simple", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ),
        (
            {"PIP_EXTRA_INDEX_URL": "https://two/simple", "UV_INDEX": "https://own/simple"},
            {"UV_INDEX": "https://own/simple"},
        ),
    ],
)
def test_uv_is_told_what_pip_is(
    said: dict[str, str], told: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wheels: Path
):
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(builder, "find_uv", lambda: "/opt/uv")
    (tmp_path / "requirements.txt").touch()
    [(_, variables), _] = builder.commands(HERE, tmp_path, constrained=False)
    assert {name: value for name, value in variables.items() if name.startswith("UV_")} == {
        "UV_NO_PROGRESS": "1",
        **told,
    }


def test_several_versions_of_python(others: Callable[[str], str]):
    for version in ("3.10", "3.12", "3.13"):
        others(version)
        assert venv.build(Recipe(version, ("tiny",)), print).version.startswith(version + ".")


@pytest.fixture
def others() -> Callable[[str], str]:
    """A Python of another version, if this machine has one."""

    def find(version: str) -> str:
        if (found := builder.find_python(version)) is None:
            pytest.skip(f"no Python {version} on this machine")
        return found

    return find


@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13"])
def test_modules_of_the_scoring_process_are_python_of_every_version(version: str, others: Callable[[str], str]):
    code = "import ast, sys; [compile(open(path).read(), path, 'exec') for path in sys.argv[1:]]"
    files = [str(path) for path in Path(venv.__file__).parent.glob("*.py")]
    subprocess.run([others(version), "-c", code, *files], check=True)


def test_the_cache_may_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv(venv.CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert venv.cache() == tmp_path / "cache" / "prefect-batch" / "environments"
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert venv.cache().name == f"prefect-batch-environments-{os.getuid()}"


def test_the_record_is_json(tmp_path: Path):
    recipe = Recipe(HERE, ("tiny==1.0",))
    venv.build(recipe, print)
    record = json.loads((venv.cache() / recipe.digest / "built.json").read_text())
    assert record["packages"]["tiny"] == "1.0"
