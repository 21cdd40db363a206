"""``distill filters``: the rules of the filter and the verifiers, with defaults and sources."""

from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import columns, paint, say, say_json
from cli.options import AsJson

if TYPE_CHECKING:
    from distill.rule_table import RuleInfo

_WIDTH = 96


def filters(
    rule: Annotated[
        str | None, typer.Argument(metavar="[RULE]", help="Show all that is known of one.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the rules of the filter: what passes, default, source.

    In a recipe: filter.off = ["language"] switches a rule off, filter.label_only lets it measure
    and drop nothing.

    Example: distill filters repetition
    """
    from dataclasses import asdict

    from distill.errors import DataError
    from distill.rules import ALL_RULES

    shown = [one for one in ALL_RULES if rule is None or one.name == rule]
    if not shown:
        known = ", ".join(one.name for one in ALL_RULES)
        raise DataError(f"there is no rule {rule!r}; known: {known}")
    if as_json:
        say_json([{**asdict(one), "key": _key(one)} for one in shown])
        return
    if rule is None:
        say("A trace meets the rules in this order; each of them measures every trace.\n")
    for one in shown:
        say(_text(one))
    if rule is None:
        from distill.verify import KINDS

        say("Verifiers, verify.kind in a recipe")
        say(f"  {', '.join(KINDS)}, or your own as 'module:function'")


def _text(rule: "RuleInfo") -> str:
    rows = [("passes", rule.meaning), ("default", _default(rule)), ("source", rule.source)]
    if key := _key(rule):
        rows.append(("key", key))
    lines = []
    for name, text in rows:
        first, *more = wrap(text, _WIDTH - 12)
        lines.append((name, first))
        lines += [("", line) for line in more]
    kind = "  (label: measures only)" if rule.is_label else ""
    return f"{paint(rule.name, 'bold')} /{rule.version}{kind}\n{columns(lines)}\n"


def _default(rule: "RuleInfo") -> str:
    return "none" if rule.default is None else f"{rule.default:g}"


def _key(rule: "RuleInfo") -> str:
    """Where a recipe sets it."""
    keys = {
        "finished": "filter.needs_reasoning",
        "boxed": "filter.needs_box",
        "length": "filter.min_reasoning_tokens, filter.max_reasoning_tokens",
        "correct": "filter.correct, filter.wrong_weight, verify.kind",
        "contamination": "filter.benchmarks, filter.contamination",
        "duplicate": "filter.duplicates",
        "near_duplicate": "filter.near_duplicate, filter.duplicates",
        "pass_rate": "select.min_pass_rate, select.max_pass_rate",
        "limit": "select.per_prompt, select.by, select.short_mix",
        "share": "blend.sources",
    }
    from distill.filter_sections import FilterSection

    own = f"filter.{rule.name}" if rule.name in FilterSection.model_fields else ""
    return keys.get(rule.name, own)
