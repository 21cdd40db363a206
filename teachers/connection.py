"""``Connection``: where an endpoint is and how it is spoken to; plain data, made from a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything that the client needs to know of an endpoint.

    Attributes:
        endpoint: Its name in the catalogue, for messages.
        chat_url: Where completions are asked for.
        models_url: Where its models are listed; empty if nowhere.
        headers: Sent with every request, the key among them.
        secrets: What must never be shown, such as the key.
        key_variable: The environment variable that holds the key, for messages.
        body: What every request says beside model, messages and sampling, such as ``thinking``.
        sends_sampling: Whether temperature and top_p are said; thinking models may refuse them.
        sends_seed: Whether each sample's seed is said.
        streams: Whether answers are streamed.
        asks_usage: Whether a stream must be asked for its usage.
        counts_one_choice: Whether the usage of several choices is that of one of them only.
        choices_at_once: Samples of one prompt that one call asks for.
        concurrency: Requests under way, at most.
        requests_per_minute: Limit; ``None`` if there is none.
        tokens_per_minute: The same for tokens read and written.
        idle_seconds: A stream that is silent for so long has broken off.
        answer_seconds: The longest wait for the content of an answer to begin, or for a plain body.
        attempts: How often a request that breaks off is sent, at most.
        patience_seconds: How long a request that the server is too busy for is tried.
    """

    endpoint: str
    chat_url: str
    models_url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    key_variable: str = ""
    body: Mapping[str, object] = field(default_factory=dict)
    sends_sampling: bool = True
    sends_seed: bool = False
    streams: bool = True
    asks_usage: bool = True
    counts_one_choice: bool = False
    choices_at_once: int = 1
    concurrency: int = 64
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    idle_seconds: float = 120.0
    answer_seconds: float = 1800.0
    attempts: int = 8
    patience_seconds: float = 1800.0

    def without_secrets(self, text: str) -> str:
        """A text, such as a server's words, in which no secret is left.

        Example:
            >>> Connection("x", "http://x", secrets=("sk-1",)).without_secrets("bad key sk-1")
            'bad key ***'
        """
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text
