"""``distill status`` for the folder of an evaluation."""

import shlex
from pathlib import Path

from cli.console import columns, paint, say, say_json
from cli.eval_text import next_steps, result_text, their_text
from cli.status import count_traces
from distill.evaluation import StoredEvaluation, read_evaluation
from distill.records import to_record
from distill.theirs import read_theirs


def show_evaluation(folder: Path, *, as_json: bool) -> None:
    """Show where an evaluation stands, from its folder alone.

    Raises:
        DistillError: If what stands in it is broken.
    """
    stored = read_evaluation(folder)
    if as_json:
        result = stored.result
        done, wanted = _progress(stored)
        say_json(
            {
                "run": str(folder),
                "evaluation": to_record(stored.evaluation),
                "state": "finished" if result else "begun",
                "completions": {"stored": done, "wanted": wanted},
                "result": to_record(result) if result else None,
                "theirs": [to_record(one) for one in read_theirs(stored.paths)],
            }
        )
        return
    asked = stored.evaluation
    say(f"{paint(asked.who, 'bold')} on {asked.benchmark.name}  {folder}, begun {asked.created}")
    if stored.result is not None:
        say(f"\n{result_text(stored.result)}")
        for theirs in read_theirs(stored.paths):
            say(f"\n{their_text(theirs)}")
        say("\nNext")
        say(columns(next_steps(stored.paths, stored.result)))
        return
    done, wanted = _progress(stored)
    say(columns([(f"{paint('…', 'yellow')} eval", f"{done:,} of {wanted:,} completions")]))
    say("\nNext")
    say(columns([("go on", _command(stored))]))


def _progress(stored: StoredEvaluation) -> tuple[int, int]:
    """Completions that are stored, and how many are wanted."""
    asked = stored.evaluation
    journal = stored.paths.judged(asked.who)
    done = count_traces(journal) if journal.is_file() else 0
    return done, asked.samples * asked.benchmark.prompts


def _command(stored: StoredEvaluation) -> str:
    """What goes on, for an evaluation with the usual options."""
    asked = stored.evaluation
    words = ["distill", "eval", asked.model, "--benchmark", asked.benchmark.name]
    return f"{shlex.join(words)} ... (the command that began it)"
