"""The commands that build a virtual environment: of uv where it is installed, else of venv and pip.

Packages come from where pip or uv of this machine are configured to get them. uv does not read pip's configuration:
where it has none of its own, it is told what pip's says.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .errors import BuildFailed

_LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__")
"""What says of another Python than the one that is built or started."""
_PLACES = ("PIP_DRY_RUN", "PIP_PREFIX", "PIP_PYTHON", "PIP_REQUIRE_VIRTUALENV", "PIP_ROOT", "PIP_TARGET", "PIP_USER")
_UVS_PLACES = ("UV_PROJECT", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_WORKING_DIR")
"""What says where packages of other environments go."""
_UVS_OWN = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_CONFIG_FILE")
_OF_PIP = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
}
_SETTING = re.compile(r"(?P<section>\w+|:env:)\.(?P<key>[\w-]+)=(?P<value>['\"].*['\"])")


def environment(of: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of this process without those that are about its own Python."""
    return _without(os.environ if of is None else of, *_LEFT_OUT)


def _without(variables: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in names}


def within(executable: str, of: Mapping[str, str]) -> dict[str, str]:
    """The variables `of` a process for one that another Python runs: it is first on PATH, and sees its own packages."""
    path = os.pathsep.join([str(Path(executable).parent), *filter(None, [of.get("PATH")])])
    return {**environment(of), "PATH": path, "PYTHONNOUSERSITE": "1"}


def commands(python: str, folder: Path, constrained: bool) -> list[tuple[list[str], dict[str, str]]]:
    """What to run in `folder`, which has requirements.txt, to get the environment `folder/venv`, with its variables.

    Args:
        python: `3.11`.
        folder: where it is built.
        constrained: whether constraints.txt is to be followed, too.

    Raises BuildFailed where there is no such Python.
    """
    files = ["-r", "requirements.txt", *(["-c", "constraints.txt"] if constrained else [])]
    target = str(folder / "venv/bin/python")
    base = find_python(python)
    if (uv := find_uv()) is not None:
        variables = {**_without(environment(), *_UVS_PLACES), "UV_NO_PROGRESS": "1", **_as_pip_is_told()}
        variables = _as_pip_reads((folder / "requirements.txt").read_text(encoding="utf-8"), variables)
        return [
            ([uv, "venv", "--quiet", "--no-project", "--python", base or python, "venv"], variables),
            ([uv, "pip", "install", "--python", target, *files], variables),
        ]
    if base is None:
        raise BuildFailed(
            f"no Python {python} was found on this machine: install it so that python{python} is on PATH, or install "
            "uv, which fetches it (pip install 'prefect-batch[uv]')"
        )
    if importlib.util.find_spec("pip") is None:
        raise BuildFailed("neither uv nor pip is installed here: pip install 'prefect-batch[uv]'")
    variables = {**_without(environment(), *_PLACES), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    return [
        ([base, "-m", "venv", "--without-pip", "venv"], variables),
        ([sys.executable, "-m", "pip", "--python", target, "install", "--progress-bar", "off", *files], variables),
    ]


def find_uv() -> str | None:
    """uv, on PATH or as a package of this Python."""
    if (found := shutil.which("uv")) is not None:
        return found
    try:
        import uv
    except ImportError:
        return None
    try:
        return uv.find_uv_bin()
    except FileNotFoundError:
        return None


def find_python(version: str) -> str | None:
    """A Python of that version (`3.11`) on this machine: this process's own, one on PATH, or one that pyenv keeps."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return str(getattr(sys, "_base_executable", sys.executable))
    on_path = [str(Path(folder) / f"python{version}") for folder in os.environ.get("PATH", "").split(os.pathsep)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path("~/.pyenv").expanduser()) / "versions"
    kept = sorted(pyenv.glob(f"{version}.*"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
    for candidate in [*on_path, *(str(path / "bin/python") for path in reversed(kept))]:
        if os.access(candidate, os.X_OK) and _is_version(candidate, version):
            return candidate
    return None


def _is_version(executable: str, version: str) -> bool:
    """Whether it starts and is of that version: one on PATH may be a script that only looks for a Python."""
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, env=environment(), check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.stdout.strip() == version


def _as_pip_is_told() -> dict[str, str]:
    """pip's configuration as uv's variables; nothing where uv has a configuration of its own."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    own = (home / "uv/uv.toml", Path("/etc/uv/uv.toml"))
    if any(os.environ.get(name) for name in _UVS_OWN) or any(path.is_file() for path in own):
        return {}
    told = pip_configuration()
    variables = {_OF_PIP[key]: value for key, value in told.items() if key in _OF_PIP}
    if os.environ.get("SSL_CERT_FILE"):
        variables.pop("SSL_CERT_FILE", None)
    if "UV_FIND_LINKS" in variables:
        variables["UV_FIND_LINKS"] = ",".join(variables["UV_FIND_LINKS"].split())
    if "UV_INDEX" in variables:  # pip takes the best of all its indexes, uv the first that knows the name
        variables["UV_INDEX"] = " ".join(variables["UV_INDEX"].split())
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return variables


def _as_pip_reads(requirements: str, variables: dict[str, str]) -> dict[str, str]:
    """uv's variables, such that indexes in a requirements file count as they do for pip: one that it names counts
    instead of those that the machine knows, and one beside that is as good as any. uv has it the other way round."""
    options = {line.replace("=", " ").split()[0] for line in requirements.splitlines() if line.startswith("-")}
    if options & {"-i", "--index-url"}:
        variables = _without(variables, "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
    if "--extra-index-url" in options:
        variables.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return variables


def pip_configuration() -> dict[str, str]:
    """What pip of this Python is configured to do when it installs; nothing where there is no pip."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in done.stdout.splitlines():
        if (match := _SETTING.fullmatch(line)) and match["section"] in sections:
            sections[match["section"]][match["key"]] = str(ast.literal_eval(match["value"]))
    return {key: value for section in sections.values() for key, value in section.items()}
