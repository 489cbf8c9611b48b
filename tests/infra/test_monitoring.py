"""The monitoring guide names exactly the exported metrics."""

from __future__ import annotations

import re
from pathlib import Path


def test_monitoring_guide_names_every_metric(root: Path) -> None:
    from synthray.cluster.metrics import GAUGES, STEP_SECONDS, STEPS

    exported = {f"ray_synthray_train_{name}" for name in [*GAUGES, f"{STEP_SECONDS}_bucket", f"{STEPS}_total"]}
    text = (root / "infra" / "monitoring" / "README.md").read_text()
    named = set(re.findall(r"\bray_synthray_train_\w+", text))
    assert named
    assert named <= exported
    for name in exported - named:
        assert f"`{name.removeprefix('ray_synthray_train')}`" in text, name
