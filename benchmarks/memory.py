"""What the flow's process holds for a thousand files, and for a million: listed by a filesystem that has none."""

from __future__ import annotations

from typing import Any

import mini_batches
from bench import Bench, Result
from processes import sampled

COUNTS = [1000, 1_000_000]


def measure(bench: Bench) -> Result:
    """The most that the flow held, in MB, with 1,000 files a mini-batch, scored by a no-op."""
    mini_batches.deploy(bench, "listed", mini_batch_size=1000)
    found: dict[str, list[dict[str, Any]]] = {}
    for count in (COUNTS[0], bench.scaled(COUNTS[1], 10_000)):
        with sampled(bench.ours.server) as used:
            taken, summary = bench.ours.run("listed", f"synthetic://{count}/", bench.work / f"listed-{count}")
        assert summary["items"] == summary["succeeded"] == count, summary
        flow = used.roles["flow"]
        bench.say(f"{count} files: {taken.wall:.0f} s, the flow held {flow.resident:.0f} MB")
        found[str(count)] = [taken.plain() | {"flow_mb": flow.resident, "flow_own_mb": flow.own, "own_mb": used.own}]
    return found
