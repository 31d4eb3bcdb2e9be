"""The Grafana dashboard and the alert rules ask for exactly what the server exports."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field
from typer.main import get_command

from services.cli.main import app
from services.recognizer.metrics import Metrics, Sources
from services.recognizer.prometheus import PrometheusMetrics

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "services/recognizer/dashboard.json").read_text())
RULES = yaml.safe_load((ROOT / "services/recognizer/alerts.yaml").read_text())
OPERATE = (ROOT / "docs/operate.md").read_text()

FROM_PROMETHEUS = {"up"}
LEFT_OUT = {"process_virtual_memory_bytes", "python_info"}  # says little beside the resident memory; for inventories
WORDS = {"and", "or", "unless", "on", "by", "bool", "offset", "ignoring", "without", "group_left", "group_right"}
ALWAYS = {"job", "instance", "le"}


def exported() -> dict[str, set[str]]:
    """Each metric as it is named in queries, with its labels; a histogram under its plain name."""
    metrics = PrometheusMetrics()
    for name, method in inspect.getmembers(Metrics, inspect.isfunction):
        if name != "watch":  # everything is measured once, so that every metric has a sample
            kinds = list(inspect.signature(method).parameters.values())[1:]
            getattr(metrics, name)(*("receive" if "str" in str(kind.annotation) else 1 for kind in kinds))
    metrics.answered(0, 1.0)
    one = {field.name: lambda: 1 for field in dataclasses.fields(Sources)}
    several = {
        "processor_s": lambda: {"model": 1.0},
        "batches": lambda: {1: 1},
        "bundles": lambda: {"live": "x"},
        "shadow": lambda: (1, 1, 1),
        "query_log": lambda: {"written": 1},
        "query_log_waiting": lambda: (1, 1.0),
        "query_log_faults": lambda: {"retried": 1},
        "live_names": lambda: {"served": 1},
    }
    metrics.watch(Sources(**one | several))
    found = {}
    for family in metrics.registry.collect():
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        assert family.samples, family.name
        found[family.name + suffix] = {label for sample in family.samples for label in sample.labels} - {"le"}
    return found


def named(query: str) -> set[str]:
    """The metrics that a PromQL query names."""
    bare = re.sub(r'"[^"]*"', "", query)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", "", bare)
    found = set(re.findall(r"(?<![\w.:$])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])", bare)) - WORDS
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


def matched(query: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric with the labels that its braces name."""
    for name, braces in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", query):
        yield (
            re.sub(r"_(bucket|sum|count)$", "", name),
            set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', braces))),
        )


def dashboard_queries() -> list[str]:
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    queries += [each["expr"] for each in DASHBOARD["annotations"]["list"]]
    variables = [each["query"]["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    return queries + [re.sub(r"label_values\((.*), \w+\)", r"\1", query) for query in variables]


def rules() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def test_the_names_in_a_query_are_found() -> None:
    query = (
        'sum by (le, job) (rate(a_seconds_bucket{x=~"b|c"}[5m])) / on (job) b_total offset 1d > 2 * c:d:rate5m and up'
    )
    assert named(query) == {"a_seconds", "b_total", "c:d:rate5m", "up"}
    assert dict(matched(query)) == {"a_seconds": {"x"}}


def test_every_metric_is_shown_or_left_out_on_purpose() -> None:
    shown = set().union(*(named(query) for query in dashboard_queries()))
    assert shown - set(exported()) == FROM_PROMETHEUS
    assert set(exported()) - shown == LEFT_OUT


def test_rules_ask_for_what_exists() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = set().union(*(named(rule["expr"]) for rule in rules()))
    assert asked - set(exported()) <= FROM_PROMETHEUS | recorded


@pytest.mark.parametrize("query", [*dashboard_queries(), *(rule["expr"] for rule in rules())])
def test_labels_exist(query: str) -> None:
    labels = exported()
    for name, used in matched(query):
        assert used <= labels.get(name, set()) | ALWAYS, name
    everything = set().union(*(labels.get(name, set()) for name in named(query))) | ALWAYS
    if not any(":" in name for name in named(query)):
        for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", query):
            assert set(group.replace(" ", "").split(",")) <= everything


def test_every_metric_and_alert_is_explained() -> None:
    for name in exported():
        assert f"`{name}`" in OPERATE, name
    for rule in rules():
        if "alert" in rule:
            assert f"`{rule['alert']}`" in OPERATE, rule["alert"]


def sections() -> dict[str, str]:
    """The text of each section of docs/operate.md by the anchor that Markdown gives its heading."""
    found = {}
    for part in re.split(r"^#+ ", OPERATE, flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        found[re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")] = text
    return found


def test_each_alert_leads_to_the_section_that_says_what_to_do() -> None:
    anchors = sections()
    assert set(re.findall(r"\]\(#([\w-]+)\)", OPERATE)) <= set(anchors)
    for rule in rules():
        if "alert" in rule:
            page, _, anchor = rule["annotations"]["runbook"].partition("#")
            assert page == "docs/operate.md"
            assert rule["alert"] in anchors[anchor], f"{rule['alert']} is not in section {anchor}"


def test_the_runbook_names_metrics_and_commands_that_exist() -> None:
    names = set(exported()) | {rule["record"] for rule in rules() if "record" in rule}
    assert {name.rstrip("`") for name in re.findall(r"`(dengar[_:][a-z_:0-9]+)`", OPERATE)} <= names
    commands = get_command(app)
    runbook = OPERATE[OPERATE.index("## On call") :]
    for line in re.findall(r"(?:`|^    )dengar ([^`\n]+)", runbook, flags=re.MULTILINE):
        command: Any = commands
        words = line.split("#")[0].split()
        while words and words[0] in getattr(command, "commands", ()):
            command = command.commands[words.pop(0)]
        assert command is not commands, f"there is no dengar {line}"
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= options, line


def test_alerts_are_complete() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_prometheus_agrees() -> None:
    for command in (["check", "rules", "services/recognizer/alerts.yaml"],
                    ["test", "rules", "tests/services/recognizer/alerts_test.yaml"]):  # fmt: skip
        ended = subprocess.run(["promtool", *command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr


class Model(BaseModel):
    """Of dashboards with schemaVersion 36 (Grafana 9.2 to 10.1; later ones migrate it), the part that is used."""

    model_config = ConfigDict(extra="forbid")


class Source(Model):
    type: Literal["prometheus"]
    uid: Literal["${datasource}"]


class Grid(Model):
    h: int = Field(ge=1)
    w: int = Field(ge=1, le=24)
    x: int = Field(ge=0, le=23)
    y: int = Field(ge=0)


class Target(Model):
    refId: str = Field(pattern="^[A-Z]$")  # noqa: N815
    datasource: Source
    expr: str
    legendFormat: str  # noqa: N815
    editorMode: Literal["code", "builder"]  # noqa: N815
    format: Literal["time_series", "table", "heatmap"] = "time_series"
    instant: bool = False
    range: bool = True


class Row(Model):
    id: int
    type: Literal["row"]
    title: str
    collapsed: bool
    gridPos: Grid  # noqa: N815
    panels: list[Any] = Field(max_length=0)


class Step(Model):
    color: str
    value: float | None


class Thresholds(Model):
    mode: Literal["absolute", "percentage"]
    steps: list[Step] = Field(min_length=1)


class Defaults(Model):
    unit: str
    thresholds: Thresholds
    color: dict[str, str]
    min: float | None = None
    max: float | None = None
    custom: dict[str, Any] = {}


class FieldConfig(Model):
    defaults: Defaults
    overrides: list[Any]


class Panel(Model):
    id: int
    type: Literal["timeseries", "stat", "heatmap", "table"]
    title: str
    description: str = Field(min_length=5)
    datasource: Source
    gridPos: Grid  # noqa: N815
    targets: list[Target] = Field(min_length=1)
    fieldConfig: FieldConfig  # noqa: N815
    options: dict[str, Any]
    transformations: list[dict[str, Any]] = []


class Dashboard(Model):
    uid: str = Field(min_length=8, max_length=40)
    title: str
    description: str
    tags: list[str]
    schemaVersion: Literal[36]  # noqa: N815
    version: int
    editable: bool
    style: Literal["dark", "light"]
    timezone: str
    graphTooltip: Literal[0, 1, 2]  # noqa: N815
    refresh: str
    time: dict[Literal["from", "to"], str]
    fiscalYearStartMonth: int  # noqa: N815
    links: list[Any]
    annotations: dict[Literal["list"], list[dict[str, Any]]]
    templating: dict[Literal["list"], list[dict[str, Any]]]
    panels: list[Row | Panel]


def test_the_dashboard_is_one_for_grafana() -> None:
    dashboard = Dashboard.model_validate(DASHBOARD, strict=True)
    assert len({panel.id for panel in dashboard.panels}) == len(dashboard.panels)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard.panels:
        grid = panel.gridPos
        assert grid.x + grid.w <= 24
        cells = set(itertools.product(range(grid.x, grid.x + grid.w), range(grid.y, grid.y + grid.h)))
        assert not cells & taken, panel.title
        taken |= cells
        if isinstance(panel, Panel):
            steps = panel.fieldConfig.defaults.thresholds.steps
            assert steps[0].value is None
            assert [step.value for step in steps[1:]] == sorted(step.value for step in steps[1:])
            assert len({target.refId for target in panel.targets}) == len(panel.targets)
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == variables
