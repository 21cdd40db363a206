"""What came of training as text: the table of the stages, what is held out, how fast it went."""

from collections.abc import Mapping, Sequence
from typing import Any

from cli.console import percent, table

Summary = Mapping[str, Any]


def train_text(summary: Summary) -> str:
    """The tables of training and its speed, from the summary of ``train``.

    What an older run did not note is left out.
    """
    parts = []
    stages: Sequence[Summary] = summary.get("stages", ())
    if any(stage["name"] for stage in stages):
        parts.append(f"What it was trained on\n{_stage_table(stages)}")
    if summary.get("held_out_before"):
        held = summary["held_out_before"]
        title = f"On {held['examples']:,} held-out examples of {held['tokens']:,} tokens with loss"
        parts.append(f"{title}\n{_held_out_table(summary, stages)}")
    if "peak_memory_bytes" in summary:
        parts.append(_speed(summary))
    return "\n\n".join(parts)


def _stage_table(stages: Sequence[Summary]) -> str:
    rows = [["", "examples", "tokens", "epochs", "steps", "learning rate", "loss"]]
    rows += [
        [
            stage["name"],
            f"{stage['examples']:,}",
            f"{stage['tokens']:,}",
            f"{stage['epochs']:,}",
            f"{stage['steps']:,}",
            f"{stage['learning_rate']:g}",
            f"{stage['final_loss']:.3f}",
        ]
        for stage in stages
    ]
    return table(rows)


def _held_out_table(summary: Summary, stages: Sequence[Summary]) -> str:
    named = [(stage["name"], stage["held_out"]) for stage in stages[:-1]]
    models = [
        ("base", summary["held_out_before"]),
        *((f"after {name}", one) for name, one in named),
    ]
    models.append(("student", summary["held_out_after"]))
    rows = [["", "loss", "tokens put first"]]
    rows += [
        [name, f"{held['loss']:.3f}", percent(held["token_accuracy"])] for name, held in models
    ]
    return table(rows)


def _speed(summary: Summary) -> str:
    parts = [
        f"{summary['tokens_per_second']:,.0f} useful tokens/s",
        f"rows {percent(summary['fill_share'])} full",
        f"peak memory {summary['peak_memory_bytes'] / 2**30:.1f} GiB",
    ]
    if summary.get("mfu") is not None:
        parts.append(f"MFU {percent(summary['mfu'])}")
    return f"Training ran at {', '.join(parts)}."
