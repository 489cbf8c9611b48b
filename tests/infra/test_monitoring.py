"""What is written of the metrics names those that there are."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_metric_is_described(root: Path) -> None:
    from synthray.cluster.metrics import GAUGES, STEP_SECONDS, STEPS

    there = {f"ray_synthray_train_{name}" for name in [*GAUGES, f"{STEP_SECONDS}_bucket", f"{STEPS}_total"]}
    text = (root / "infra" / "monitoring" / "README.md").read_text()
    named = set(re.findall(r"\bray_synthray_train_\w+", text))
    assert named
    assert named <= there
    for name in there - named:
        assert f"`{name.removeprefix('ray_synthray_train')}`" in text, name
