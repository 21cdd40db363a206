"""The funnel as a table of text."""

from distill.funnel import FilterReport


def format_funnel(report: FilterReport, *, all_rules: bool = True) -> str:
    """What is left after each rule.

    Args:
        report: Of the filter.
        all_rules: Whether rules that dropped nothing are shown.

    Example:
        >>> from distill.funnel import FunnelStep
        >>> step = FunnelStep("correct", 4, 4, 5, 2, 50, False)
        >>> report = FilterReport(9, 3, 90, 5, 2, 50, 0, 0, 0, "v", 5, 0, 0, (step,), (), (), ())
        >>> print(format_funnel(report))
                 failed  only this  traces left  prompts  tokens
        sampled                               9        3      90
        correct      -4          4            5        2      50
    """
    rows = [["", "failed", "only this", "traces left", "prompts", "tokens"]]
    counts = (report.traces, report.prompts, report.tokens)
    rows.append(["sampled", "", "", *(f"{count:,}" for count in counts)])
    for step in report.funnel:
        if step.dropped or all_rules:
            counts = (step.traces_left, step.prompts_left, step.tokens_left)
            only = "" if step.is_choice else f"{step.exclusive:,}"
            left = [f"{count:,}" for count in counts]
            rows.append([step.rule, f"{-step.dropped:,}", only, *left])
    if report.mixed_in:
        total = report.kept + report.mixed_in, report.kept_tokens + report.mixed_in_tokens
        rows.append(["mixed in", f"+{report.mixed_in:,}", "", f"{total[0]:,}", "", f"{total[1]:,}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
