"""Everything that the filter's judging depends on, in a form that workers can be given.

Two setups with one ``key`` judge alike: what one of them has finished, the other need not do again.
"""

from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from distill.decontam import BenchmarkIndex, Question
from distill.digest import sha256_file
from distill.filter_sections import FilterSection, SelectSection, VerifySection
from distill.prompts import stream_prompts
from distill.rules import ALL_RULES, FUNNEL, TokenCounter
from distill.storage import hash_json
from distill.types import Verifier
from distill.verify import build_verifier

VERSION = 1
"""Raised when the same setup could judge otherwise, beside the versions of rules."""


@dataclass(frozen=True, slots=True)
class FilterSetup:
    """How traces are judged and chosen.

    Attributes:
        verify: Who judges.
        rules: What is good enough.
        select: What is chosen.
        seed: Of the draws.
        tokenizer: The student's ``tokenizer.json``; ``None`` where there is none.
        source: Name of the data set, for rows that name none.
    """

    verify: VerifySection = field(default_factory=VerifySection)
    rules: FilterSection = field(default_factory=FilterSection)
    select: SelectSection = field(default_factory=SelectSection)
    seed: int = 0
    tokenizer: Path | None = None
    source: str = "traces"

    def verifier(self) -> Verifier:
        """Whoever judges.

        Raises:
            RecipeError: If there is no such verifier, or it does not take these options.
        """
        return build_verifier(self.verify.kind, **self.verify.options)

    def verifier_name(self) -> str:
        """Name and version of whoever judges.

        Raises:
            RecipeError: As `verifier`.
        """
        verifier = self.verifier()
        close = getattr(verifier, "close", None)
        if close is not None:
            close()
        return verifier.name

    @property
    def needs_box(self) -> bool:
        """Whether a box can be asked for: other verifiers read other answers."""
        return self.verify.kind in ("answer", "agreement")

    def counter(self) -> TokenCounter | None:
        """Tokens of a text by the student's tokenizer, if that is known."""
        if self.tokenizer is None or find_spec("tokenizers") is None:
            return None
        return _counter(self.tokenizer)

    def benchmarks(self) -> BenchmarkIndex | None:
        """Questions that prompts must not hold.

        Raises:
            DataError: If a file of them cannot be read.
        """
        if not self.rules.benchmarks or "contamination" in self.rules.off:
            return None
        questions = (
            Question(path.name, prompt.id, prompt.text)
            for path in self.rules.benchmarks
            for prompt in stream_prompts(path)
        )
        return BenchmarkIndex(questions, threshold=self.rules.contamination)

    def funnel(self) -> tuple[str, ...]:
        """Names of the rules that could drop a trace, in order."""
        rules, select = self.rules, self.select
        idle: set[str] = {*rules.off, *rules.label_only}
        idle |= set() if rules.benchmarks else {"contamination"}
        idle |= set() if rules.needs_box and self.needs_box else {"boxed"}
        has_band = (select.min_pass_rate, select.max_pass_rate) != (0.0, 1.0)
        idle |= set() if has_band else {"pass_rate"}
        return tuple(rule for rule in FUNNEL if rule not in idle)

    def key(self) -> str:
        """Changes when traces could be judged or chosen otherwise."""
        files = [*self.rules.benchmarks, *([self.tokenizer] if self.tokenizer else [])]
        without_effect = {"max_dropped_share", "max_broken_share", "max_unknown_share"}
        return hash_json(
            {
                "version": VERSION,
                "verify": [self.verifier_name(), self.verify.model_dump(mode="json")],
                "rules": self.rules.model_dump(mode="json", exclude=without_effect),
                "select": self.select.model_dump(mode="json"),
                "versions": {rule.name: rule.version for rule in ALL_RULES},
                "files": {str(path): sha256_file(path) for path in files},
                "seed": self.seed,
                "source": self.source,
            }
        )


@cache
def _counter(path: Path) -> TokenCounter:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
