"""The contenders' environments. `python benchmarks/environments.py FOLDER NAME ...` makes those that are not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements"
LOCK = HERE.parent / "requirements.lock"
SHARED = (REQUIREMENTS / "models.txt", REQUIREMENTS / "constraints.txt", LOCK)


def lacks(folder: Path, name: str) -> str | None:
    """Why an environment cannot be used; None once it is there and is what its requirements say."""
    if name == "spark" and shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        return "Spark needs a Java runtime, and there is no java here"
    stamp = folder / name / ".stamp"
    wanted = "\n".join(path.read_text() for path in (REQUIREMENTS / f"{name}.txt", *SHARED))
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    print(f"Installing the environment {name!r} (a few minutes the first time) ...", flush=True)
    stamp.unlink(missing_ok=True)
    pip = [folder / name / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    pip += ["-r", REQUIREMENTS / f"{name}.txt", "-c", REQUIREMENTS / "constraints.txt", "-c", LOCK]
    try:
        if not (folder / name / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        subprocess.run(pip, check=True, cwd=HERE.parent)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"the environment {name!r} could not be made: {error}"
    stamp.write_text(wanted)
    return None


if __name__ == "__main__":
    sys.exit("\n".join(filter(None, (lacks(Path(sys.argv[1]).resolve(), name) for name in sys.argv[2:]))) or 0)
