"""``ApiTeacher``: a model behind an OpenAI-compatible endpoint as a ``Completer``.

One call is under way for each free place in the window that the server allows. A call that is
refused because there are too many waits; one that breaks off is sent again, with jitter; both while
others go on. A cause that stops every request (a wrong key, an empty account) ends the run, after
what is under way has been answered: that is paid for.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from distill.storage import hash_json
from distill.types import Answer, RequestSource, Sampling
from teachers.calls import BodyMaker
from teachers.canary import Canary
from teachers.collecting import fewer_collections
from teachers.connection import Connection
from teachers.drain import Drain, PriceFinder
from teachers.fleet import Fleet
from teachers.http_client import HttpClient
from teachers.paced_loop import paced_loop


class ApiTeacher:
    """Asks an endpoint; rows are independent, and every request is billed."""

    is_billed = True

    def __init__(
        self,
        connection: Connection,
        model: str,
        *,
        system: str = "",
        expects_reasoning: bool = True,
        price: PriceFinder = lambda usage, at: None,
        on_notice: Callable[[str], None] = lambda text: None,
        fleet: Fleet | None = None,
    ) -> None:
        """Take what is needed; nothing is sent yet.

        Args:
            connection: The endpoint.
            model: What it calls the model.
            system: A system prompt for every request; empty for none.
            expects_reasoning: Whether to stop early when the first answers hold no reasoning.
            price: What an answer cost; ``None`` when that is unknown.
            on_notice: Called with what the user should know while it goes on.
            fleet: Servers that the calls are shared over, in place of the connection's address.
        """
        self.model = model
        self.samples_at_once = connection.choices_at_once
        # Where the same model is asked for does not change what it writes.
        self.fingerprint = hash_json(
            {"model": model, "system": system, "body": dict(connection.body), "format": 1}
        )
        self._connection = connection
        self._system = system
        self._expects_reasoning = expects_reasoning
        self._price = price
        self._on_notice = on_notice
        self._fleet = fleet
        self._run: Drain | None = None

    def progress_figures(self) -> Mapping[str, str]:
        """Requests under way of those allowed at present, and what was sent again."""
        return self._run.figures() if self._run is not None else {}

    def complete(self, source: RequestSource, sampling: Sampling) -> Iterator[Answer]:
        """Ask for all that the source wants, as many at once as the server takes.

        Raises:
            TeacherError: If every request is refused, or the answers hold no reasoning.
        """
        maker = BodyMaker(self._connection, self.model, self._system, sampling)
        canary = Canary(self._expects_reasoning)
        with fewer_collections(), asyncio.Runner(loop_factory=paced_loop) as runner:
            loop = runner.get_loop()
            client = loop.run_until_complete(_open_client(self._connection))
            self._run = run = Drain(
                loop,
                client,
                self._connection,
                maker=maker,
                canary=canary,
                price=self._price,
                fleet=self._fleet,
            )
            try:
                while (answers := self._next_answers(run, source)) is not None:
                    yield from answers
                if run.is_ending:
                    raise KeyboardInterrupt
                if run.fatal is not None:
                    raise loop.run_until_complete(run.explain())
            finally:
                loop.run_until_complete(run.close())

    def _next_answers(self, run: Drain, source: RequestSource) -> list[Answer] | None:
        """The next answers; a first Ctrl-C asks for no more and waits for what is under way."""
        try:
            return run.next_answers(source)
        except KeyboardInterrupt:
            if run.is_ending or not run.under_way:
                raise
            run.is_ending = True
            self._on_notice(
                f"waiting for {run.under_way} answers that are under way and will be billed;"
                " Ctrl-C again leaves them"
            )
            return run.next_answers(source)


async def _open_client(connection: Connection) -> HttpClient:
    return HttpClient(connection.headers, proxied_url=connection.chat_url)
