"""The four steps: numbers, then two sides at the same time, then both together.

How far is the square of a sum from the sum of the squares? Each side takes its time, so that one can see them overlap.
"""

import argparse
import json
import time
from pathlib import Path


def split(upto: int, out: Path) -> None:
    (out / "numbers.json").write_text(json.dumps(list(range(1, upto + 1))))


def side(name: str, numbers: Path, seconds: float, fail: str, out: Path) -> None:
    started = time.time()
    values = json.loads((numbers / "numbers.json").read_text())
    time.sleep(seconds)
    if fail == name:
        raise SystemExit(f"{name}: told to fail")
    value = sum(values) ** 2 if name == "left" else sum(value**2 for value in values)
    print(f"{name}: {value}")
    (out / "side.json").write_text(json.dumps({"value": value, "started": started, "ended": time.time()}))


def join(left: Path, right: Path, note: Path | None, out: Path) -> None:
    one, other = (json.loads((folder / "side.json").read_text()) for folder in (left, right))
    overlap = min(one["ended"], other["ended"]) - max(one["started"], other["started"])
    report = {"difference": one["value"] - other["value"], "overlap": round(overlap, 2)}
    if note is not None:
        report["note"] = note.read_text().strip()
    out.write_text(json.dumps(report))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    steps = arguments.add_subparsers(dest="step", required=True)
    step = steps.add_parser("split")
    step.add_argument("--upto", type=int, required=True)
    step.add_argument("--out", type=Path, required=True)
    step = steps.add_parser("side")
    step.add_argument("--name", choices=["left", "right"], required=True)
    step.add_argument("--numbers", type=Path, required=True)
    step.add_argument("--seconds", type=float, required=True)
    step.add_argument("--fail", required=True)
    step.add_argument("--out", type=Path, required=True)
    step = steps.add_parser("join")
    for name in ("left", "right", "out"):
        step.add_argument(f"--{name}", type=Path, required=True)
    step.add_argument("--note", type=Path)
    given = vars(arguments.parse_args())
    {"split": split, "side": side, "join": join}[given.pop("step")](**given)
