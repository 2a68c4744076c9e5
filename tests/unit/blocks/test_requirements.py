from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.requirements import Requirements, mismatches, parse_conda, parse_lines, read_file
from prefect_batch.scoring.errors import InvalidDocument

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def conda(*dependencies: Any) -> Requirements:
    return parse_conda({"channels": ["conda-forge"], "dependencies": list(dependencies)}, "env.yml: environment")


def test_a_requirements_file_with_what_it_includes(tmp_path: Path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("numpy<2  # for the model\n-c pins.txt\n")
    (tmp_path / "more" / "pins.txt").write_text("scipy==1.13.0\n")
    (tmp_path / "requirements.txt").write_text(
        "# what we need\n\n--extra-index-url https://index/simple\n-r more/base.txt\nscikit-learn \\\n  == 1.5.2\n"
        "private @ https://files/private-1.0.whl\ngit+https://host/repo@v1\ntorch==2.1 ; python_version < '3.13'\n"
    )
    read = read_file(tmp_path / "requirements.txt", "env.yml")
    assert read.lines == [
        "--extra-index-url https://index/simple",
        "numpy<2",
        "scikit-learn == 1.5.2",
        "private @ https://files/private-1.0.whl",
        "git+https://host/repo@v1",
        "torch==2.1 ; python_version < '3.13'",
    ]
    assert read.constraints == ["scipy==1.13.0"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-e .", "only on this machine"),
        ("./wheels/a-1.0.whl", "only on this machine"),
        ("/opt/a", "only on this machine"),
        ("a @ file:///opt/a", "only on this machine"),
        ("-r other.txt", "no file can be named here"),
        ("--no-binary :all:", "that option has no place"),
        ("numpy==", "is no requirement that pip knows"),
        ("two words", "is no requirement that pip knows"),
        ("--find-links ./wheels", "is not the http or https address of an index"),
        ("--index-url file:///opt/simple", "is not the http or https address of an index"),
        ("--index-url", "is not the http or https address of an index"),
    ],
)
def test_lines_that_are_refused(line: str, message: str):
    with pytest.raises(InvalidDocument, match=message) as error:
        parse_lines([line], "env.yml", None)
    assert "\n" not in str(error.value) and str(error.value).startswith("env.yml: ")


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://me:s3cret@host/simple",
        "git+https://s3cret@host/repo",
        "a @ https://me:s3cret@host/a-1.0.whl",
        "-e git+ssh://me:s3cret@host/repo",
    ],
)
def test_a_login_is_refused_without_being_shown(line: str):
    with pytest.raises(InvalidDocument, match="whoever reads the environment would read this login") as error:
        parse_lines([line], "env.yml", None)
    assert "s3cret" not in str(error.value)


def test_a_login_of_the_worker_is_not_refused():
    lines = ["--index-url https://${NAME}:${TOKEN}@host/simple", "git+ssh://git@host/repo"]
    assert parse_lines(lines, "env.yml", None).lines == lines


def test_a_file_that_includes_itself(tmp_path: Path):
    (tmp_path / "one.txt").write_text("numpy\n-r two.txt\n")
    (tmp_path / "two.txt").write_text("-c one.txt\n")
    with pytest.raises(InvalidDocument, match=r"one\.txt: includes itself"):
        read_file(tmp_path / "one.txt", "env.yml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_from_windows(tmp_path: Path, encoding: str):
    (tmp_path / "requirements.txt").write_bytes("numpy<2\r\n# note\r\npandas\r\n".encode(encoding))
    assert read_file(tmp_path / "requirements.txt", "env.yml").lines == ["numpy<2", "pandas"]


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(InvalidDocument, match=r"nowhere\.txt: no such file"):
        read_file(tmp_path / "nowhere.txt", "env.yml")


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("numpy", "numpy"),
        ("numpy=1.26", "numpy==1.26.*"),
        ("numpy=1.26.*", "numpy==1.26.*"),
        ("numpy==1.26.4", "numpy==1.26.4"),
        ("numpy=1.26.4=py311h64a7726_0", "numpy==1.26.4.*"),
        ("numpy >=1.26,<2", "numpy>=1.26,<2"),
        ("numpy 1.26.*", "numpy==1.26.*"),
        ("conda-forge::scikit-learn=1.5", "scikit-learn==1.5.*"),
        ("pytorch=2.1", "torch==2.1.*"),
        ("category_encoders", "category_encoders"),
        ("Pillow", "pillow"),
    ],
)
def test_conda_packages_that_pip_can_give(package: str, line: str):
    assert conda(package).lines == [line]


@pytest.mark.parametrize("entry", [{"numpy": 1.26}, {"pip": "numpy"}, {"pip": ["a"], "numpy": 1}])
def test_mappings_that_are_no_pip_part_are_refused(entry: Any):
    with pytest.raises(InvalidDocument, match=r"is a mapping: write `numpy=1\.26`, or a list of lines under `pip:`"):
        conda(entry)


def test_a_conda_file_without_packages_is_refused():
    with pytest.raises(InvalidDocument, match="under dependencies, which is missing"):
        parse_conda({"dependancies": ["numpy"]}, "env.yml")


def test_the_pip_part_follows():
    asked = conda("python=3.12", "numpy", "pip", {"pip": ["mlflow==2.9", "azureml-core"]})
    assert asked == Requirements(["numpy", "mlflow==2.9", "azureml-core"], [], "3.12")


def test_conda_packages_that_pip_cannot_give_are_never_guessed():
    with pytest.raises(
        InvalidDocument, match=r"environment: cudatoolkit=11\.8, r-base: not known to be the same"
    ) as error:
        conda("numpy", "cudatoolkit=11.8", "r-base")
    assert "micromamba create" in str(error.value) and "under `pip:`" in str(error.value)
    with pytest.raises(InvalidDocument, match="write one version, or a range with commas"):
        conda("numpy=1.25|1.26")


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("python", None),
        ("python=3.12", "3.12"),
        ("python=3.11.7", "3.11"),
        ("python==3.10.2", "3.10"),
        ("python=3.10.*", "3.10"),
        ("python>=3.10", HERE),
        ("python=3", HERE),
        ("python >=3.12,<3.13", "3.12"),
    ],
)
def test_python(package: str, version: str | None):
    assert conda(package).python == version


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("python<3.10", "no Python from 3.10 to"),
        ("python=x", "python=x"),
    ],
)
def test_pythons_that_are_refused(package: str, message: str):
    with pytest.raises(InvalidDocument, match=message):
        conda(package)


def test_what_does_not_suit_a_model():
    wanted = [
        "--extra-index-url https://index",
        "scikit-learn==1.5.2",
        "NumPy<2",
        "pandas==2.2.0",
        "mlflow==3.1.0",
        "gone==1.0",
        "pywin32==1; sys_platform == 'win32'",
        "anything",
        "setuptools==65.5.0",
        "torch==2.1.0",
        "torchvision==0.16.0+cu118",
    ]
    has = {"torch": "2.1.0+cpu", "torchvision": "0.16.0+cpu"} | {
        "scikit-learn": "1.8.0",
        "numpy": "2.4.6",
        "pandas": "2.2.0",
        "mlflow-skinny": "3.1.0",
        "anything": "1",
    }
    assert mismatches(wanted, "3.10", has, "3.11.7") == [
        "the model was logged with Python 3.10; the environment has 3.11.7",
        "the model was logged with scikit-learn==1.5.2; the environment has 1.8.0",
        "the model was logged with NumPy<2; the environment has 2.4.6",
        "the model was logged with gone==1.0; the environment has none",
    ]
    assert (
        mismatches(["pandas==2.2.0"], "3.1", has, "3.11.7")
        != []
        == mismatches(["pandas==2.2.0"], "3.11", has, "3.11.7")
    )
