"""Whether a locked package has a known vulnerability: `python tests/audit.py`, which `make check` runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
SECONDS = 300.0
ACCEPTED: dict[str, str] = {}
"""Ids of vulnerabilities, and why each does no harm here until it is mended."""


def main() -> None:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _skip("no answer")
    except json.JSONDecodeError:
        return _skip(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no answer")
    found = [(package, known) for package in packages for known in package.get("vulns", ())]
    if all("skip_reason" in package for package in packages):
        return _skip("the index does not have it")
    bad = [(package, known) for package, known in found if not {known["id"], *known["aliases"]} & set(ACCEPTED)]
    for package, known in bad:
        versions = ", ".join(known["fix_versions"]) or "none yet"
        print(f"{package['name']} {package['version']}: {known['id']} (mended in: {versions})")
    looked_at = sum("skip_reason" not in package for package in packages)
    print(
        f"{looked_at} of {len(packages)} locked packages looked up: {len(bad)} known vulnerabilities, "
        f"{len(found) - len(bad)} accepted"
    )
    sys.exit(bool(bad))


def _skip(reason: str) -> None:
    print(f"SKIPPED: the locked packages were not audited, the list of vulnerabilities cannot be read: {reason[:200]}")


if __name__ == "__main__":
    main()
