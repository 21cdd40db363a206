"""The model card of a student: its page on the Hub, made from records alone.

Every figure on it comes from the lineage and the results of the evaluation; what is not recorded
is not said. It holds no path, host or key.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from distill.comparison import EvalReport
from distill.eval_result import EvalResult
from distill.funnel import FilterReport
from distill.funnel_text import format_funnel
from distill.intervals import Estimate
from distill.licences import ACCEPT_OPTION, EMBEDDED, LicenceView
from distill.lineage import LINEAGE_FILE, Lineage
from distill.records import from_record

_TAGS: Final = ("distillation", "reasoning")
_LIMITS: Final = (
    "It is small: expect errors where its teacher is right, and check what matters.",
    "It was trained on few kinds of problem; on others it may be worse than its base.",
    "Its reasoning is how it comes to an answer, and no proof of it.",
)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card is made from.

    Attributes:
        name: Of the student, without its owner.
        lineage: Of its folder.
        licence: What the terms of its base and teachers say.
        files: What is published with the card.
        evaluation: Of its run; ``None`` if there is none.
        results: Of benchmarks, measured with these weights.
        is_at_risk: Whether the user went on against the terms.
    """

    name: str
    lineage: Lineage
    licence: LicenceView
    files: tuple[str, ...]
    evaluation: EvalReport | None = None
    results: tuple[EvalResult, ...] = ()
    is_at_risk: bool = False


def base_of(lineage: Lineage) -> str:
    """Name of the base that a student was trained from; empty if the lineage does not say."""
    step = lineage.step("train")
    student = step.recipe.get("student", {}) if step else {}
    if student.get("kind") == "embedded":
        return EMBEDDED
    return str(student.get("model") or student.get("path") or "")


def teachers_of(lineage: Lineage) -> list[str]:
    """Names of the models that wrote what it was trained on; none if the lineage does not say."""
    step = lineage.step("generate")
    if step is None:
        return []
    teacher = step.recipe.get("teacher", {})
    if teacher.get("kind") == "embedded":
        return [EMBEDDED]
    model = teacher.get("model") or step.figures.get("model") or ""
    return [str(model)] if model else []


def model_card(facts: CardFacts) -> str:
    """The card as Markdown with the Hub's fields at its head."""
    return "\n".join(
        [
            *_head(facts),
            *_introduction(facts),
            *_run(facts),
            *_data(facts.lineage),
            *_training(facts.lineage),
            *_evaluation(facts.evaluation),
            *_benchmarks(facts.results),
            *_made_of_it(facts.lineage),
            *_use(facts),
            "",
        ]
    )


def data_card(name: str, lineage: Lineage, licence: LicenceView) -> str:
    """The card of a data set that a run made, or of a file of which nothing is known."""
    teachers = teachers_of(lineage)
    by = f" written by {' and '.join(map(_named, teachers))}" if teachers else ""
    concerns = [
        f"The terms of {_named(one.model)} say: {one.problem} ({one.source})."
        for one in licence.concerns
    ]
    return "\n".join(
        [
            *("---", "tags:", *(f"- {tag}" for tag in _TAGS), "---"),
            f"\n# {name}\n",
            f"Traces{by}, to train a small student on. `{LINEAGE_FILE}` has every stage.",
            *_data(lineage),
            *concerns,
            "",
        ]
    )


def _head(facts: CardFacts) -> Iterator[str]:
    base = base_of(facts.lineage)
    yield "---"
    yield f"license: {facts.licence.licence}"
    if facts.licence.licence == "other":
        yield f"license_name: {_yaml(facts.licence.title)}"
    if "/" in base:
        yield f"base_model: {_yaml(base)}"
        yield f"base_model_relation: {relation_of(facts.files, facts.lineage)}"
    if not gguf_of(facts.files):
        yield "library_name: transformers"
    yield "pipeline_tag: text-generation"
    yield "tags:"
    yield from (f"- {tag}" for tag in _TAGS)
    yield "---"


def _introduction(facts: CardFacts) -> Iterator[str]:
    base, teachers = base_of(facts.lineage), teachers_of(facts.lineage)
    yield f"\n# {facts.name}\n"
    yield from (f"**{badge}**\n" for badge in facts.licence.badges)
    taught = f", taught by {' and '.join(map(_named, teachers))}" if teachers else ""
    yield (
        f"A small dense student made from {_named(base) if base else 'a base that is not named'}"
        f"{taught}. It reasons in `<think>` tags before it answers. `{LINEAGE_FILE}` beside this"
        " card has every stage with its settings and hashes: `distill trace-back` reads it, and"
        " `distill verify` checks the files against it."
    )


def _run(facts: CardFacts) -> Iterator[str]:
    yield "\n## Run it\n"
    gguf = gguf_of(facts.files)
    if not gguf:
        yield f"```sh\ndistill serve {facts.name}/    # or: vllm serve {facts.name}/\n```"
        return
    name = facts.name.lower()
    yield "```sh"
    if "Modelfile" in facts.files:
        yield f"ollama create {name} -f Modelfile && ollama run {name}"
    yield f"llama-server -m {gguf} --jinja    # or: distill serve {gguf}\n```"


def _data(lineage: Lineage) -> Iterator[str]:
    generate, kept = lineage.step("generate"), lineage.step("filter")
    if generate is None and kept is None:
        return
    yield "\n## Data\n"
    if generate is not None:
        figures, recipe = generate.figures, generate.recipe
        yield from _table(
            {
                "prompts": f"{figures['prompts']:,}, SHA-256 `{generate.settings['prompts']}`",
                "traces": f"{figures['samples']:,}, {figures['accepted']:,} of them right",
                "judged by": generate.settings["verifier"],
                "temperature, top-p": f"{recipe['generate']['temperature']:g},"
                f" {recipe['generate']['top_p']:g}",
                "tokens written": f"{figures['output_tokens']:,}",
                "paid": None if figures["usd"] is None else f"{figures['usd']:,.2f} USD",
            }
        )
    if kept is not None:
        report = from_record(FilterReport, dict(kept.figures), LINEAGE_FILE)
        yield f"\n```text\n{format_funnel(report, all_rules=False)}\n```"


def _training(lineage: Lineage) -> Iterator[str]:
    step = lineage.step("train")
    if step is None:
        return
    figures, recipe = step.figures, step.recipe.get("train", {})
    yield "\n## Training\n"
    losses = figures.get("losses") or []
    yield from _table(
        {
            "method": figures.get("method"),
            "examples": _number(figures.get("examples")),
            "tokens of an epoch": _number(figures.get("tokens")),
            "epochs": _number(figures.get("epochs")),
            "steps": _number(figures.get("steps")),
            "learning rate": figures.get("learning_rate"),
            "optimizer": recipe.get("optimizer"),
            "row": f"{recipe['seq_len']:,} tokens" if "seq_len" in recipe else None,
            "parameters": _number(figures.get("parameters")),
            "trained parameters": _number(figures.get("trained_parameters")),
            "loss": f"{losses[0]:.3f} to {losses[-1]:.3f}" if losses else None,
            "time": f"{figures['seconds'] / 3600:.2f} h" if "seconds" in figures else None,
            "machine": step.versions.get("platform"),
            "software": ", ".join(
                f"{name} {step.versions[name]}"
                for name in ("distill", "python", "torch", "transformers")
                if name in step.versions
            ),
            "seed": step.seed,
        }
    )


def _evaluation(report: EvalReport | None) -> Iterator[str]:
    if report is None:
        return
    yield "\n## Evaluation\n"
    model = report.models[0]
    yield (
        f"{report.prompts:,} problems that the student was not trained on, {model.samples} samples"
        f" of each, temperature {model.sampling.temperature:g}, top-p {model.sampling.top_p:g}, at"
        f" most {model.sampling.max_tokens:,} tokens. Accuracy is the mean over all samples with"
        " its 95 % interval, the problem as the unit; samples that the limit cut count as wrong.\n"
    )
    yield "| | accuracy | cut | tokens |\n| --- | --- | --- | --- |"
    for one in report.models:
        yield (
            f"| {one.who.replace('_', ' ')} | {_interval(one.pass_at_1)} |"
            f" {100 * one.truncated:.1f} % | {one.output_tokens:,.0f} |"
        )
    if report.recovery is not None:
        yield f"\nThe student has {_interval(report.recovery)} of its teacher's accuracy."


def _benchmarks(results: Sequence[EvalResult]) -> Iterator[str]:
    if not results:
        return
    yield "\n## Benchmarks\n"
    yield "pass@1 with its 95 % interval, the problem as the unit, of these very files.\n"
    yield "| | pass@1 | problems | samples of each | temperature, top-p | most tokens |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in results:
        report, sampling = one.report, one.report.sampling
        yield (
            f"| {one.benchmark.name} | {_interval(report.pass_at_1)} | {one.benchmark.prompts:,} |"
            f" {report.samples} | {sampling.temperature:g}, {sampling.top_p:g} |"
            f" {sampling.max_tokens:,} |"
        )


def _made_of_it(lineage: Lineage) -> Iterator[str]:
    """What was done after training, such as an export with its checks."""
    steps = [step for step in lineage.steps if step.stage not in {"generate", "filter", "train"}]
    for step in steps:
        yield f"\n## {step.stage.capitalize()}\n"
        yield from _table({**step.settings, **_flat(step.figures)})


def _use(facts: CardFacts) -> Iterator[str]:
    licence = facts.licence
    yield "\n## Intended use and limits\n"
    yield f"- Use: {licence.use}."
    yield from (f"- {limit}" for limit in _LIMITS)
    yield "\n## Licence\n"
    yield f"{licence.title}."
    for model in licence.unknown:
        yield f"The terms of {_named(model)} are not known to the tool that made this card."
    if facts.is_at_risk:
        for one in licence.concerns:
            yield (
                f"Published with `{ACCEPT_OPTION}` although the terms of {_named(one.model)} say:"
                f" {one.problem} ({one.source})."
            )


def _named(model: str) -> str:
    if model == EMBEDDED:
        return "the embedded model of the distill toolkit"
    return f"[{model}](https://huggingface.co/{model})" if "/" in model else f"`{model}`"


def _interval(estimate: Estimate) -> str:
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.1f} % ({low:.1f} to {high:.1f})"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:,}"


def _flat(figures: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Figures within figures, each with its whole name."""
    found: dict[str, object] = {}
    for key, value in figures.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key} ")
        elif not isinstance(value, list | tuple):
            found[f"{prefix}{key}".replace("_", " ")] = value
    return found


def _table(rows: Mapping[str, object]) -> Iterator[str]:
    """Two columns; what is ``None`` is left out."""
    yield "| | |\n| --- | --- |"
    for name, value in rows.items():
        if value is not None:
            shown = f"{value:,}" if isinstance(value, int) else str(value)
            shown = f"{value:g}" if isinstance(value, float) else shown
            yield f"| {name} | {shown.replace('|', ' ')} |"


def _yaml(text: str) -> str:
    """A text as a YAML scalar: a JSON string is one."""
    return json.dumps(text, ensure_ascii=False)


def gguf_of(files: Sequence[str]) -> str:
    """Name of the GGUF file among them; empty if there is none."""
    return next((name for name in files if name.endswith(".gguf")), "")


def relation_of(files: Sequence[str], lineage: Lineage) -> str:
    """How a folder relates to its base, as the Hub names it.

    Example:
        >>> relation_of(["adapter_model.safetensors"], Lineage(1, "", "", (), {}))
        'adapter'
    """
    if gguf_of(files):
        return "quantized"
    step = lineage.step("export")
    if step is not None and step.settings.get("format") in {"nf4", "int8", "gguf"}:
        return "quantized"
    is_adapter = "adapter_model.safetensors" in files and "model.safetensors" not in files
    return "adapter" if is_adapter else "finetune"
