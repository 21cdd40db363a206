"""The page about 16 nodes shows what its script computes now, and its examples can be read."""

import json
import re
import subprocess

import pytest
import yaml

from benchmarks import cluster_plan
from teachers.moe_config import find_architecture
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "cluster.md"


def rows() -> list[list[str]]:
    """Cells of the tables."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_hours_and_money_are_those_of_the_published_speeds() -> None:
    shown = [row[1:] for row in rows() if re.match(r"(DeepSeek|vLLM|SGLang) 2025", row[0])]
    costs = [
        cluster_plan.cost_of(cluster_plan._JOB, speed, 128)
        for speed in cluster_plan.speeds_of(find_architecture("DeepSeek-R1"))
    ]
    assert shown == [
        [
            f"{cost.tokens_per_second:,.0f}",
            f"{cost.hours:.1f}",
            f"{cost.gpu_hours:,.0f}",
            f"{cost.usd:,.0f}",
        ]
        for cost in costs
    ]


def test_failures_cost_what_the_simulation_says() -> None:
    facts = find_architecture("DeepSeek-R1")
    node_speed = cluster_plan.speeds_of(facts)[0].tokens_per_second_per_gpu * 8
    shown = [row[2:] for row in rows() if re.match(r"\d+ h", row[0])]
    found = [cluster_plan._simulated(node_speed, 600, case)[1] for case in cluster_plan._CASES]
    assert shown == [
        [f"{each['hours']:.1f}", f"{each['failures']:.0f}", f"{100 * each['written_again']:.2f} %"]
        for each in found
    ]


def test_the_clients_load_is_what_the_script_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Streams, network and journal of the slowest published speed."""
    cluster_plan._say_streams(236_800 / 16, 600)
    printed, page = capsys.readouterr().out, PAGE.read_text()
    for figure in re.findall(r"[\d,.]+ (?:Gbit/s|rows/s|MB/s)|[\d,]+(?= streams)", printed):
        assert figure in page


def test_what_was_measured_is_what_the_results_hold() -> None:
    """What one core reads, and what the journal syncs: rounded on the page, not made up."""
    results = REPOSITORY / "benchmarks" / "results" / "cluster_plan.json"
    figures = json.loads(results.read_text())["figures"]
    one, eight, row, group = [value for name, value in figures.items() if "per second" in name]
    limits = {name: limit for name, _, limit in (row for row in rows() if len(row) == 3)}
    assert f"takes {round(one, -3):,.0f} apart" in limits["events a second, one token each"]
    assert limits["events a second, eight tokens each"].endswith(f" {round(eight / 8, -3):,.0f}")
    assert limits["journal"].startswith(f"{row:.0f} synced rows a second")
    assert f"{round(group * 64, -2):,.0f} in groups" in limits["journal"]


@pytest.mark.parametrize("script", blocks("bash"))
def test_a_shell_example_can_be_read_by_a_shell(script: str) -> None:
    read = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert read.returncode == 0, read.stderr
    for order in re.findall(r"\bdistill \w+ .*", script):
        assert "--run-dir" in order


@pytest.mark.parametrize("text", blocks("yaml"))
def test_the_kubernetes_example_is_a_set_of_servers_with_no_liveness_probe(text: str) -> None:
    found = yaml.safe_load(text)
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert found["spec"]["replicas"] == cluster_plan._NODES
    assert all(isinstance(word, str) for word in container["args"])
    assert "livenessProbe" not in container
