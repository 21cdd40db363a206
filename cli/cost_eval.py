"""``distill cost`` for the folder of an evaluation."""

from pathlib import Path

from cli.console import columns, paint, say, say_json
from cli.costs import lost_text, usage_text, usd_text
from distill.evaluation import read_evaluation
from distill.records import to_record
from distill.spent import Spent, read_spent, unanswered_requests


def show_cost(folder: Path, *, as_json: bool) -> None:
    """Show what an evaluation has spent, whether it is finished or not.

    Raises:
        DistillError: If what stands in the folder is broken.
    """
    stored = read_evaluation(folder)
    who = stored.evaluation.who
    journal = stored.paths.judged(who)
    total = Spent()
    for spent in (read_spent(journal) if journal.is_file() else {}).values():
        total.merge(spent)
    lost = unanswered_requests(stored.paths.judged_requests(who), total.samples) + total.broken
    if as_json:
        say_json(
            {
                "run": str(folder),
                "samples": total.samples,
                "usage": to_record(total.usage),
                "usd": total.known_usd,
                "maybe_billed_without_answer": lost,
            }
        )
        return
    say(f"{paint(who, 'bold')} on {stored.evaluation.benchmark.name}  {folder}")
    if not total.samples and not lost:
        say("  nothing was billed: no completion came from an endpoint")
        return
    rows = [
        ("samples", f"{total.samples:,}"),
        ("tokens", usage_text(total.usage)),
        ("spent", usd_text(total.known_usd)),
    ]
    say(columns(rows + ([("lost", lost_text(lost))] if lost else [])))
