"""The page about a run: every figure of the record, nothing fetched or run, reachable by key."""

import asyncio
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from distill.page.curve import curve
from distill.page.whiskers import Whisker, whiskers
from tests.browser import CHROMIUM, browser
from tests.cli.conftest import Invoke


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, without its page."""
    folder = tmp_path / "run"
    shutil.copytree(finished_run / "runs/tiny", folder)
    (folder / "report.html").unlink()
    return folder


def test_a_job_leaves_the_page_and_the_command_writes_it_again(
    invoke: Invoke, finished_run: Path, run: Path
) -> None:
    shown = invoke("report", run)
    assert shown.code == 0
    assert "report.html" in shown.out
    first = (finished_run / "runs/tiny/report.html").read_text()
    assert (run / "report.html").read_text() == first


def test_each_figure_is_the_one_of_the_record(invoke: Invoke, run: Path) -> None:
    assert json.loads(invoke("report", run, "--json").out)["page"] == str(run / "report.html")
    page = (run / "report.html").read_text()
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    summaries = {stage: stages[stage]["summary"] for stage in stages}
    assert f"<b>{summaries['generate']['samples']:,}</b>" in page
    assert f"{summaries['filter']['kept']:,}</b>" in page
    assert f"from {summaries['train']['losses'][0]:.3f}" in page
    for model in summaries["eval"]["report"]["models"]:
        low, high = (100 * model["pass_at_1"][end] for end in ("low", "high"))
        interval = f"{100 * model['pass_at_1']['value']:.1f} % ({low:.1f} to {high:.1f})"
        assert f'<th scope="row">{model["who"]}</th><td>{interval}</td>' in page
    for pair in summaries["eval"]["report"]["comparisons"]:
        assert f"{pair['won']:,} problems won, {pair['lost']:,} lost" in page


def test_lengths_count_every_sample(invoke: Invoke, run: Path) -> None:
    invoke("report", run)
    page = (run / "report.html").read_text()
    (lengths,) = re.findall(r'<h2 id="lengths">.*?<h2 id="against', page, re.DOTALL)
    counted = [int(number) for number in re.findall(r"of (\d+) right", lengths)]
    report = json.loads((run / "manifest.json").read_text())["stages"]["eval"]["summary"]["report"]
    samples = sum(model["samples"] for model in report["models"]) * report["prompts"]
    assert sum(counted) == samples


def test_nothing_is_fetched_or_run_and_every_link_has_its_target(invoke: Invoke, run: Path) -> None:
    invoke("report", run)
    page = (run / "report.html").read_text()
    assert not re.findall(r"https?:|src=|url\(|@import|<script", page)
    assert {link[:1] for link in re.findall(r'href="([^"]*)"', page)} == {"#"}
    anchors = set(re.findall(r'href="#([^"]*)"', page))
    assert anchors <= set(re.findall(r'id="([^"]*)"', page))


def test_hostile_text_stays_text(invoke: Invoke, run: Path) -> None:
    nasty = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>"

    def spoil(line: str) -> str:
        record = json.loads(line)
        record["text"] = nasty
        return json.dumps(record)

    rewrite(run / "prompts/eval.jsonl", spoil)
    assert invoke("report", run).code == 0
    page = (run / "report.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_run_that_only_sampled_has_a_page_without_the_rest(invoke: Invoke, run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"] = {"generate": manifest["stages"]["generate"]}
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert invoke("report", run).code == 0
    page = (run / "report.html").read_text()
    assert "Not done yet: filter, train, eval." in page
    assert 'id="training"' not in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt install chromium")
def test_a_browser_shows_it_without_complaint_and_by_keyboard(
    invoke: Invoke, run: Path, tmp_path: Path
) -> None:
    invoke("report", run)
    asyncio.run(walk_through(run / "report.html", tmp_path))


async def walk_through(page: Path, folder: Path) -> None:
    """Open the page, open the first example by its keys alone, look at the width."""
    profile = folder / "browser"
    profile.mkdir()
    async with browser(profile) as shown:
        await shown.open(page)
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert await shown.value(wide)
        links = await shown.value("document.querySelectorAll('a, summary').length")
        reached = set()
        for _ in range(3 * links):
            await shown.press("Tab", 9)
            name = await shown.value(
                "(e => e.matches('a, summary') ? e.outerHTML : '')(document.activeElement)"
            )
            reached.add(name)
            if name.startswith("<summary"):
                break
        await shown.press("Enter", 13, text="\r")
        assert await shown.value("document.activeElement.parentElement.open")
        assert len(reached - {""}) > 3
        assert shown.logged == []


def test_a_curve_stays_in_its_frame_and_small() -> None:
    for values in ([2.0], [1.0, 1.0], [0.0, 0.0], [5 / (1 + step) for step in range(100_000)]):
        plot = curve(values, "loss")
        assert len(plot) < 30_000
        for line in re.findall(r'points="([^"]*)"', plot):
            heights = [float(point.split(",")[1]) for point in line.split()]
            assert all(0 <= height <= 220 for height in heights)


def test_whiskers_stand_at_their_shares() -> None:
    plot = whiskers([Whisker("a", 0.5, 0.25, 1.0, "", "student")], "t")
    marks = [one for one in ElementTree.fromstring(plot).iter() if one.get("class")]
    (line,) = [one for one in marks if one.get("class") == "whisker student"]
    (dot,) = [one for one in marks if one.tag == "circle"]
    left, middle, right = (
        float(line.attrib["x1"]),
        float(dot.attrib["cx"]),
        float(line.attrib["x2"]),
    )
    assert (right - middle) / (middle - left) == pytest.approx(2.0)


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Change each line of a file."""
    path.write_text("".join(f"{change(line)}\n" for line in path.read_text().splitlines()))
