"""The page needs nothing but itself, shows every figure, and runs nothing that a trace holds."""

import re
from pathlib import Path
from xml.etree import ElementTree

from distill.layout import RunLayout
from distill.page.bars import Bar, bars
from tests.distill.filtering import row, run_filter


def _page(folder: Path) -> str:
    return RunLayout(folder / "out").filter_page.read_text()


def test_the_page_fetches_and_runs_nothing(tmp_path: Path) -> None:
    run_filter(tmp_path, [row(0, 0), row(0, 1, "2")])
    page = _page(tmp_path)
    assert not re.findall(r"https?:|src=|href=|url\(|@import", page)
    assert "<script" not in page


def test_what_a_trace_holds_is_text_and_no_markup(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script> & </pre><img onerror=x>"
    rows = [row(0, 0), row(0, 1, "2", prompt_id="<b>p</b>", reasoning=nasty, finish="length")]
    rows[1]["prompt"] = "<i>?"
    run_filter(tmp_path, rows, source="<u>")
    page = _page(tmp_path)
    for tag in ("<script", "<img", "<b>p", "<i>", "<u>"):
        assert tag not in page
    assert "&lt;script&gt;alert(1)" in page


def test_every_figure_of_the_report_is_on_the_page(tmp_path: Path) -> None:
    rows = [row(prompt, sample, "12"[sample % 2]) for prompt in range(9) for sample in range(4)]
    rows[0]["source"] = "olympiad"
    rows.append(row(10, 0, finish="length"))
    report = run_filter(tmp_path, rows, per_prompt=1)
    page = _page(tmp_path)
    for step in report.funnel:
        cells = (step.dropped, step.traces_left, step.prompts_left, step.tokens_left)
        only = "" if step.is_choice else f"{step.exclusive:,}"
        first, *others = [f"{cell:,}" for cell in cells]
        line = "".join(f"<td>{cell}</td>" for cell in (step.rule, first, only, *others))
        assert line in page
    for part in (*report.difficulties, *report.sources, *report.lengths):
        assert f"{part.kept:,} of {part.traces:,} kept" in page
    for rule in ("finished", "correct", "limit"):
        assert f"dropped by {rule} " in page


def test_plots_are_drawn_to_scale() -> None:
    plot = bars([Bar("a", 10, 4, "x"), Bar("b & c", 5, 5, "y")], "t")
    widths = [
        float(one.attrib["width"])
        for one in ElementTree.fromstring(plot).iter()
        if one.tag == "rect"
    ]
    assert [width / widths[0] for width in widths] == [1, 0.4, 0.5, 0.5]
