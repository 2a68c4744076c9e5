"""What a requirements file or a conda file asks for, as lines that pip takes.

Nothing is guessed: a conda package is taken from the Python package index only where it is known to be the same
project there. Of any other name, somebody else may be the owner.
"""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ..scoring.errors import InvalidDocument
from ..scoring.venv import MINIMUM

_NEWEST = 14
"""Of the minor versions of Python 3 that a range may come to."""
_SAME_THERE = """
    absl-py accelerate aiohttp altair arrow attrs beautifulsoup4 bokeh boto3 botocore catboost category_encoders certifi
    charset-normalizer click cloudpickle cryptography cvxpy cython dask datasets dill distributed duckdb fastapi
    fastparquet filelock flask fsspec gensim gitpython google-cloud-storage h5py httpx huggingface_hub hyperopt idna
    imbalanced-learn ipykernel ipython jax jinja2 joblib jsonschema keras lightgbm librosa llvmlite lxml markupsafe
    matplotlib mlflow mlflow-skinny mlxtend mypy nbformat networkx nltk notebook numba numexpr numpy onnx onnxruntime
    openpyxl optuna orjson packaging pandas patsy pillow pip platformdirs plotly polars prophet protobuf psutil
    psycopg2 pyarrow pycocotools pydantic pydicom pygments pymongo pyodbc pyparsing pytest python-dateutil python-dotenv
    pytorch-lightning pytz pywavelets pyyaml pyzmq rasterio regex requests rich ruamel.yaml s3fs sacremoses safetensors
    scikit-image scikit-learn scipy seaborn sentence-transformers sentencepiece setuptools shap shapely simpleitk six
    soundfile spacy sqlalchemy statsmodels sympy tabulate tenacity tensorboard tensorflow threadpoolctl tifffile
    timm tokenizers torchaudio torchmetrics torchvision tornado tqdm transformers typing_extensions tzdata umap-learn
    urllib3 wheel wrapt xarray xgboost xlrd xlsxwriter zarr
"""
_RENAMED = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "tensorflow-cpu": "tensorflow-cpu",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-opencv": "opencv-python-headless",
    "opencv": "opencv-python-headless",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "dask-core": "dask",
    "python-xxhash": "xxhash",
    "pytables": "tables",
    "python-duckdb": "duckdb",
    "python-graphviz": "graphviz",
    "brotli-python": "brotli",
}
_ON_INDEX = {name.replace("_", "-"): name for name in _SAME_THERE.split()} | _RENAMED
_OPTIONS = ("--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--pre", "--no-index", "--trusted-host")
_PLACES = ("--index-url", "-i", "--extra-index-url", "--find-links", "-f")
"""Options whose value says where packages are."""
_BUILDERS = ("pip", "setuptools", "wheel")
"""Packages that no model is made with, though they are recorded with it."""
_LOGIN = re.compile(r"://(?P<login>[^/@\s]+)@")
_COMMENT = re.compile(r"(^|\s)#.*$")
_CONDA = re.compile(r"(?:[\w./-]+::)?(?P<name>[\w.-]+)\s*(?P<version>[^\s].*)?")


@dataclass
class Requirements:
    """What an environment is to have."""

    lines: list[str] = field(default_factory=list[str])
    constraints: list[str] = field(default_factory=list[str])
    python: str | None = None
    """`3.11`; None where nothing is said."""


def read_file(path: Path, where: str, above: tuple[Path, ...] = ()) -> Requirements:
    """A requirements file, with those that it includes. Raises InvalidDocument, which begins with `where`.

    Args:
        path: its.
        where: named first in errors.
        above: the files that include it.
    """
    if path.resolve() in above:
        raise InvalidDocument(f"{where}: {path}: includes itself")
    return parse_lines(_text(path, where), f"{where}: {path}", path.parent, (*above, path.resolve()))


def parse_lines(
    text: str | Iterable[str], where: str, beside: Path | None, above: tuple[Path, ...] = ()
) -> Requirements:
    """Lines of a requirements file.

    Args:
        text: the file's, or its lines.
        where: named first in errors.
        beside: what `-r` and `-c` start from; None where no file may be named.
        above: the files that it is in.

    Raises InvalidDocument for a line that is none, names what is only on this machine, or has a password in it.
    """
    found = Requirements()
    whole = text if isinstance(text, str) else "\n".join(text)
    for raw in whole.replace("\\\n", " ").splitlines():
        line = " ".join(_COMMENT.sub("", raw).split())
        if not line:
            continue
        _check_login(line, where)
        option, _, value = line.replace("=", " ", 1).partition(" ") if line.startswith("--") else line.partition(" ")
        if option in ("-r", "--requirement", "-c", "--constraint"):
            if beside is None:
                raise InvalidDocument(f"{where}: {line!r}: no file can be named here: write its lines")
            below = read_file(beside / value.strip(), where, above)
            found.constraints += below.constraints + (below.lines if option in ("-c", "--constraint") else [])
            found.lines += below.lines if option in ("-r", "--requirement") else []
        elif option in _OPTIONS:
            if option in _PLACES and not re.match(r"https?://|\$\{", value.strip()):
                raise InvalidDocument(f"{where}: {line!r} is not the http or https address of an index")
            found.lines.append(line)
        else:
            found.lines.append(_requirement(line, where))
    return found


def _check_login(line: str, where: str) -> None:
    """Refuse a password or a token that whoever reads the deployment would read. Raises InvalidDocument."""
    for match in _LOGIN.finditer(line):
        of_ssh = line[: match.start()].endswith("ssh") and ":" not in match["login"]
        if "${" not in match["login"] and not of_ssh:
            shown = line.replace(match["login"], "***")
            raise InvalidDocument(
                f"{where}: {shown!r}: whoever reads the environment would read this login: write ${{VARIABLE}} in its "
                "place, of the worker's environment, or leave it to the worker's ~/.netrc"
            )


def _requirement(line: str, where: str) -> str:
    bare = line.split(" --hash")[0]
    if bare.startswith(("-e ", "--editable", ".", "/", "~", "file:")) or "file:" in bare or bare.endswith(".whl"):
        if not re.match(r"(\S+ @ )?https?://", bare):
            raise InvalidDocument(
                f"{where}: {line!r} is only on this machine: put the package on an index, or give its https address"
            )
        return line
    if bare.startswith("-"):
        raise InvalidDocument(f"{where}: {line!r}: that option has no place in an environment: leave it out")
    if re.match(r"(git\+)?(https?|ssh)://", bare):
        return line
    try:
        Requirement(bare)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise InvalidDocument(f"{where}: {line!r} is no requirement that pip knows: {reason}") from None
    return line


def parse_conda(conda: Mapping[str, Any], where: str) -> Requirements:
    """What a conda file asks for, of its pip part and of the packages that the Python package index has as well.

    Channels are of no effect. Raises InvalidDocument naming the packages that only conda has, and what to do.
    """
    found, unknown = Requirements(), list[str]()
    if "dependencies" not in conda:
        raise InvalidDocument(f"{where}: a conda file lists packages under dependencies, which is missing")
    for entry in cast("list[Any]", conda.get("dependencies") or []):
        if isinstance(entry, Mapping):
            found.lines += _of_pip(cast("Mapping[str, Any]", entry), where)
            continue
        match = _CONDA.fullmatch(str(entry).strip())
        name, version = (match["name"].lower(), match["version"] or "") if match else (str(entry), "")
        if name == "python":
            found.python = python_version(version, where)
        elif name == "pip":
            continue
        elif (known := _ON_INDEX.get(name.replace("_", "-"))) is None:
            unknown.append(str(entry))
        else:
            found.lines.append(_requirement(known + _pip_version(version, str(entry), where), where))
    if unknown:
        raise InvalidDocument(
            f"{where}: {', '.join(unknown)}: not known to be the same on the Python package index: move under `pip:` "
            "what is there; or make the environment with `micromamba create -p DIR -f conda.yml` on each machine and "
            "write `environment: {python: DIR/bin/python}`; or name an image, on a compute that runs containers"
        )
    return found


def _of_pip(part: Mapping[str, Any], where: str) -> list[str]:
    """The lines of `pip:` in a conda file."""
    lines: Any = part.get("pip") or []
    if set(part) != {"pip"} or not isinstance(lines, list):
        raise InvalidDocument(
            f"{where}: dependencies: {', '.join(map(str, part))}: is a mapping: write `numpy=1.26`, or a list of lines "
            "under `pip:`"
        )
    return parse_lines([str(line) for line in cast("list[Any]", lines)], f"{where}: pip", None).lines


def _pip_version(version: str, entry: str, where: str) -> str:
    """A conda package's version as pip writes it: `=1.2` is any 1.2; a build behind a second `=` does not count."""
    version = version.strip()
    if "|" in version or "[" in version:
        raise InvalidDocument(f"{where}: {entry!r}: write one version, or a range with commas")
    if match := re.fullmatch(r"=?\s*([\w.!+*-]+)(?:[=\s]+[\w*.]+)?", version):
        exact = match[1].rstrip("*").rstrip(".")
        return f"=={exact}.*" if exact else ""
    if match := re.fullmatch(r"==\s*([\w.!+*-]+)(?:=[\w*.]+)?", version):
        return f"=={match[1]}"
    return version


def python_version(version: str, where: str) -> str | None:
    """The `3.11` of what a file says of Python; of a range this process's own, else the newest in it.

    Raises InvalidDocument for what is no version, and for a range without one that scoring processes run in.
    """
    text = _pip_version(version, f"python{version}", where)
    if not text:
        return None
    if match := re.fullmatch(r"==\s*(\d+)\.(\d+)(\.\d+)*(\.\*)?", text):
        return f"{match[1]}.{match[2]}"
    return ".".join(map(str, _best(text, f"python{version}", where)))


def _best(text: str, entry: str, where: str) -> tuple[int, int]:
    try:
        allowed = SpecifierSet(text)
    except InvalidSpecifier:
        raise InvalidDocument(f"{where}: {entry!r} is no version of Python: write python=3.11, for example") from None
    here = sys.version_info[:2]
    for major, minor in [here, *((3, n) for n in range(_NEWEST, MINIMUM[1] - 1, -1))]:
        if any(allowed.contains(f"{major}.{minor}.{patch}") for patch in range(30)):
            return major, minor
    raise InvalidDocument(f"{where}: {entry!r}: no Python from 3.{MINIMUM[1]} to 3.{_NEWEST} is in that range")


def _text(path: Path, where: str) -> str:
    try:
        data = path.read_bytes()
        # Windows PowerShell writes `pip freeze > requirements.txt` so.
        return data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except FileNotFoundError:
        raise InvalidDocument(f"{where}: {path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InvalidDocument(f"{where}: {path}: cannot be read: {error}") from None


def name_of(line: str) -> str | None:
    """The normalised name (`scikit-learn`) that a line asks for; None where it has none."""
    try:
        return normalised(Requirement(line.split(" --hash")[0]).name)
    except InvalidRequirement:
        return None


def normalised(name: str) -> str:
    """A package's name as all its spellings mean it."""
    return re.sub("[-_.]+", "-", name).lower()


def mismatches(wanted: Iterable[str], python: str | None, has: Mapping[str, str], version: str) -> list[str]:
    """What an environment has otherwise than a model was logged with, one line each.

    Args:
        wanted: the model's requirement lines.
        python: `3.11`, of the model.
        has: versions of what the environment has, by normalised name.
        version: of the environment's Python.
    """
    found: list[str] = []
    if python is not None and not f"{version}.".startswith(f"{python}."):
        found.append(f"the model was logged with Python {python}; the environment has {version}")
    for line in wanted:
        try:
            asked = Requirement(line.split(" --hash")[0])
        except InvalidRequirement:
            continue  # an option, or an address: it says no version
        if asked.marker is not None and not asked.marker.evaluate({"python_version": ".".join(version.split(".")[:2])}):
            continue
        if (name := normalised(asked.name)) in _BUILDERS:
            continue
        there = has.get(name) or (has.get("mlflow-skinny") if name == "mlflow" else None)
        if there is None:
            found.append(f"the model was logged with {asked.name}{asked.specifier}; the environment has none")
        elif not _public(asked).contains(there, prereleases=True):
            found.append(f"the model was logged with {asked.name}{asked.specifier}; the environment has {there}")
    return found


def _public(asked: Requirement) -> SpecifierSet:
    """The versions asked for, whatever they were built for: `2.1.0+cu118` is `2.1.0`."""
    return SpecifierSet(re.sub(r"\+[^,]*", "", str(asked.specifier)))
