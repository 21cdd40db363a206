"""What traces of an endpoint cost, as text: for the end of a stage and for ``distill cost``."""

from collections.abc import Mapping
from typing import Any

from cli.console import columns
from distill.generate import GenerateReport
from distill.records import from_record
from distill.types import Usage


def spending_text(summary: Mapping[str, Any], wanted: int) -> str:
    """What a stage cost, from its summary; empty where nothing is billed.

    Args:
        summary: Of ``generate``.
        wanted: Right traces of a prompt that the recipe keeps at most.
    """
    report = from_record(GenerateReport, dict(summary), "manifest.json")
    if not report.is_billed:
        return ""
    accepted = max(report.accepted, 1)
    each = usd_text(None if report.usd is None else report.usd / accepted)
    rows = [
        ("tokens", usage_text(report.usage)),
        ("spent", f"{usd_text(report.usd)}, {each} a right trace"),
        ("samples", f"{report.samples:,}, {report.samples / accepted:.2f} a right trace"),
        ("early stop", _early_stop_text(report, wanted)),
    ]
    if report.unanswered:
        rows.append(("lost", lost_text(report.unanswered)))
    return f"What it cost\n{columns(rows)}"


def failures_text(summary: Mapping[str, Any]) -> str:
    """Why samples of ``generate`` got no answer; empty if all did."""
    failures = summary["outcome"]["failures"]
    if not failures:
        return ""
    rows = [
        (f"{one['count']:,} x", f"{one['reason']}  (such as {one['example']})") for one in failures
    ]
    return f"Without an answer\n{columns(rows)}"


def usage_text(usage: Usage) -> str:
    """Tokens by what they were for."""
    read = f"{usage.input_tokens:,} read, {usage.cached_tokens:,} of them cached"
    answers = usage.output_tokens - usage.reasoning_tokens
    return f"{read}; {usage.reasoning_tokens:,} of reasoning, {answers:,} of answers"


def lost_text(requests: int) -> str:
    """What may have been billed for nothing."""
    what = "request" if requests == 1 else "requests"
    why = "cut off, or under way when a run was killed"
    return f"{requests:,} {what} may have been billed with no answer stored ({why})"


def usd_text(usd: float | None) -> str:
    """An amount for people, with as many digits as it needs.

    Example:
        >>> usd_text(12.3456), usd_text(0.00012345), usd_text(None)
        ('12.35 USD', '0.000123 USD', 'unknown (no price)')
    """
    if usd is None:
        return "unknown (no price)"
    return f"{usd:,.2f} USD" if usd >= 1 or usd == 0 else f"{usd:.3g} USD"


def gpu_hours_text(usd: float, usd_per_gpu_hour: float) -> str:
    """How long GPUs worked for an amount.

    Example:
        >>> gpu_hours_text(6.0, 2.0), gpu_hours_text(0.001, 2.0)
        ('3 GPU hours', '0.0005 GPU hours')
    """
    return f"{usd / usd_per_gpu_hour:,.3g} GPU hours" if usd_per_gpu_hour else "0 GPU hours"


def _early_stop_text(report: GenerateReport, wanted: int) -> str:
    """What stopping at enough right traces saved, or would."""
    fixed, samples = report.fixed_samples, max(report.samples, 1)
    if report.until_correct is not None:
        all_usd = usd_text(None if report.usd is None else report.usd / samples * fixed)
        saved = f"saved {fixed - report.samples:,} of {fixed:,} samples"
        saved += f"; all of them would have cost about {all_usd}"
        if wanted > report.until_correct:
            saved += (
                f"; select.per_prompt = {wanted} would take more right traces than until_correct ="
                f" {report.until_correct} leaves"
            )
        return saved
    each = fixed // max(report.prompts, 1)
    if wanted >= each:
        return "would save nothing: every right trace is wanted (select.per_prompt)"
    return f"off; generate.until_correct = {wanted} would stop at what select.per_prompt keeps"
