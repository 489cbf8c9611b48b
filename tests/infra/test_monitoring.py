"""The monitoring guide and the dashboard name exactly the exported metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path

STATUSES = ("200", "404", "429", "500", "503", "OK", "NOT_FOUND", "INTERNAL", "UNAVAILABLE", "UNKNOWN")


def test_monitoring_guide_names_every_metric(root: Path) -> None:
    from synthray.cluster.training.metrics import GAUGES, STEP_SECONDS, STEPS

    exported = {f"ray_synthray_train_{name}" for name in [*GAUGES, f"{STEP_SECONDS}_bucket", f"{STEPS}_total"]}
    text = (root / "infra" / "monitoring" / "README.md").read_text()
    named = set(re.findall(r"\bray_synthray_train_\w+", text))
    assert named
    assert named <= exported
    for name in exported - named:
        assert f"`{name.removeprefix('ray_synthray_train')}`" in text, name


def test_monitoring_guide_names_every_metric_of_the_service(root: Path) -> None:
    from synthray.serve.metrics import METRICS

    text = (root / "infra" / "monitoring" / "README.md").read_text()
    named = re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE)
    assert [name for name in named if not name.startswith("ray_")] == list(METRICS)


def test_dashboard_names_every_metric_and_only_labels_that_it_has(root: Path) -> None:
    from synthray.serve.metrics import METRICS

    dashboard = json.loads((root / "infra" / "monitoring" / "dashboard.json").read_text())
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "prefix"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"${datasource}"}
    named = set()
    for expression in [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]:
        metrics = {
            re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"\$\{prefix\}_([a-z_]+)", expression)
        }
        [metric] = metrics
        used = re.findall(r"by \(([^)]*)\)", expression) + re.findall(r"(\w+)(?:!=|=~)", expression)
        assert set(", ".join(used).split(", ")) - {"", "le"} <= set(METRICS[metric].labels), expression
        assert "synthray" not in expression
        named |= metrics
    assert named == set(METRICS)


def test_dashboard_shares_of_status_codes_are_0_while_there_are_none(root: Path) -> None:
    dashboard = json.loads((root / "infra" / "monitoring" / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    shares = [expression for expression in expressions if "status" in expression and " / " in expression]
    assert shares
    for share in shares:
        total = share.split(" / ")[1].split(" or ")[0]
        assert share.endswith(f" / {total} or 0 * {total}"), share


def test_dashboard_counts_failures_over_http_and_grpc(root: Path) -> None:
    text = (root / "infra" / "monitoring" / "dashboard.json").read_text()
    patterns = re.findall(r'status=~\\"([^"]*)\\"', text)
    assert patterns
    for pattern in patterns:
        found = [status for status in STATUSES if re.fullmatch(pattern, status)]
        assert found == ["500", "503", "INTERNAL", "UNAVAILABLE", "UNKNOWN"]
