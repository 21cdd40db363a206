r"""Decontamination: number-changed questions found, false alarms, prompts per second.

    python benchmarks/decontam.py

``data/questions.toml`` has 12 questions, the same in other numbers, and 132 that begin like one of
them and are others; they are looked up in an index of 3,000 questions made from templates. Speed
is measured on prompts of about 60 words of which one in twenty holds a question. Expected before
measuring: 12 of 12 found, none of 132, at least 6,000 prompts per second on one core. Prints
medians and writes them to ``results/decontam.json``.
"""

import argparse
import random
import statistics
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import reasoning_texts
import results_file

from distill import decontam
from distill.decontam import BenchmarkIndex, Question

QUESTIONS: Final = 3000
PROMPTS: Final = 4000
HELD: Final = 20
"""One prompt in so many holds a question."""
ITEMS: Final[list[dict[str, Any]]] = tomllib.loads(
    (Path(__file__).parent / "data" / "questions.toml").read_text(encoding="utf-8")
)["item"]


def made_prompt(rng: random.Random) -> str:
    """Some sentences of reasoning, which no template of questions has, as a prompt of 60 words."""
    return " ".join(reasoning_texts.sentences("en", 330, rng))


def made_questions(count: int) -> list[Question]:
    """The twelve, and others of words drawn at random like the words of a text."""
    rng = random.Random(1)
    text = " ".join(reasoning_texts.sentences("en", 200_000, rng))
    words = [word for word in text.split() if word.isalpha()]
    questions = [
        Question("questions.toml", str(at), one["question"]) for at, one in enumerate(ITEMS)
    ]
    for number in range(count - len(questions)):
        length = rng.randint(15, 60)
        made = " ".join(rng.choices(words, k=length)) + f" {number % 97} ?"
        questions.append(Question("made.jsonl", f"line-{number}", made))
    return questions


def per_second(index: BenchmarkIndex, prompts: Sequence[str], repeats: int) -> int:
    """Median of prompts per CPU-second."""
    speeds = []
    for _ in range(repeats):
        start = time.process_time()
        for prompt in prompts:
            index.find(prompt)
        speeds.append(len(prompts) / (time.process_time() - start))
    return round(statistics.median(speeds))


def alarms(index: BenchmarkIndex) -> int:
    """How many of the questions that only begin alike are called the same."""
    return sum(
        index.find(item["opening"] + other) is not None
        for item in ITEMS
        for other in item["others"]
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    rng = random.Random(0)
    questions = made_questions(QUESTIONS)
    start = time.process_time()
    index = BenchmarkIndex(questions)
    index_seconds = time.process_time() - start
    found = [index.find(f"Solve this:\n{item['changed']}\nThink first.") for item in ITEMS]
    named = sum(one is not None and one.question.item == str(at) for at, one in enumerate(found))
    prompts = [made_prompt(rng) for _ in range(PROMPTS)]
    for at in range(0, PROMPTS, HELD):
        prompts[at] += " " + rng.choice(questions).text
    row_words, decontam.ROW_WORDS = decontam.ROW_WORDS, 13  # type: ignore[misc]
    alarms_at_13 = alarms(index)
    decontam.ROW_WORDS = row_words  # type: ignore[misc]
    figures = {
        "questions": len(index),
        "index_seconds": round(index_seconds, 2),
        "number_changed_found": f"{named} of {len(ITEMS)}",
        "false_alarms": f"{alarms(index)} of {sum(len(item['others']) for item in ITEMS)}",
        "false_alarms_any_run": alarms(BenchmarkIndex(questions, threshold=0)),
        "false_alarms_if_13_words_in_a_row": alarms_at_13,
        "words_of_a_prompt": round(statistics.mean(len(one.split()) for one in prompts)),
        "prompts_per_cpu_second": per_second(index, prompts, arguments.repeats),
    }
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    results_file.write("decontam", figures)


if __name__ == "__main__":
    main()
