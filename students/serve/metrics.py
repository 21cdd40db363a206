"""Figures of the server in the text format that Prometheus reads."""

from collections import Counter
from collections.abc import Iterable, Iterator

from students.serve.backend import End


class Metrics:
    """What was asked and answered since the start."""

    def __init__(self) -> None:
        """Nothing so far."""
        self._requests: Counter[int] = Counter()
        self._seconds = 0.0
        self._prompt_tokens = self._completion_tokens = 0
        self._ends: Counter[str] = Counter()

    def count_request(self, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests[status] += 1
        self._seconds += seconds

    def count_tokens(self, ends: Iterable[End]) -> None:
        """Completions ended."""
        for end in ends:
            self._prompt_tokens += end.prompt_tokens
            self._completion_tokens += end.completion_tokens
            self._ends[end.finish] += 1

    def text(self, *, running: int, open_choices: int, drawn_tokens: int) -> str:
        """All of it.

        Args:
            running: Completions that are drawn or wait for a place.
            open_choices: Completions that clients wait for.
            drawn_tokens: Tokens since the start, those of dropped completions included.
        """
        lines = [*self._lines(running, open_choices, drawn_tokens)]
        return "\n".join(lines) + "\n"

    def _lines(self, running: int, open_choices: int, drawn_tokens: int) -> Iterator[str]:
        yield "# TYPE distill_requests_total counter"
        for status, count in sorted(self._requests.items()):
            yield f'distill_requests_total{{status="{status}"}} {count}'
        yield "# TYPE distill_completions_total counter"
        for finish, count in sorted(self._ends.items()):
            yield f'distill_completions_total{{finish="{finish}"}} {count}'
        for name, kind, value in (
            ("distill_request_seconds_total", "counter", round(self._seconds, 6)),
            ("distill_prompt_tokens_total", "counter", self._prompt_tokens),
            ("distill_completion_tokens_total", "counter", self._completion_tokens),
            ("distill_drawn_tokens_total", "counter", drawn_tokens),
            ("distill_running_completions", "gauge", running),
            ("distill_open_completions", "gauge", open_choices),
        ):
            yield f"# TYPE {name} {kind}"
            yield f"{name} {value}"
