"""Rules that judge one completion; ``build_verifier`` makes one by its kind.

``answer`` for maths, ``code`` for programs, ``choice``, ``exact``, ``schema``, ``instructions``
that a program can check, ``agreement`` where there is no gold answer, ``judge`` for what a model
found, ``custom`` for a user's own function; ``form`` checks shape and needs no gold answer.
"""

import difflib
import importlib
import inspect

from distill.errors import RecipeError
from distill.types import Verifier

KINDS = {
    "answer": "distill.verify.answer:AnswerVerifier",
    "choice": "distill.verify.choice:ChoiceVerifier",
    "exact": "distill.verify.exact:ExactVerifier",
    "schema": "distill.verify.schema:SchemaVerifier",
    "agreement": "distill.verify.agreement:AgreementVerifier",
    "code": "distill.verify.code:CodeVerifier",
    "instructions": "distill.verify.instructions:InstructionsVerifier",
    "judge": "distill.verify.judge:JudgeVerifier",
    "custom": "distill.verify.custom:CustomVerifier",
}
"""Where each kind is; nothing is imported before it is built."""


def build_verifier(kind: str, **options: object) -> Verifier:
    """A verifier by its kind; ``module:function`` is a user's own function.

    Raises:
        RecipeError: If there is no such kind, option or function.

    Example:
        >>> build_verifier("answer").name
        'answer/2'
        >>> build_verifier("anwser")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        distill.errors.RecipeError: unknown verifier 'anwser'; did you mean 'answer'?
          Kinds: answer, choice, exact, schema, agreement, code, instructions, judge, custom,...
    """
    if ":" in kind:
        kind, options = "custom", {"function": kind, **options}
    if kind not in KINDS:
        meant = difflib.get_close_matches(kind, KINDS, n=1)
        raise RecipeError(
            f"unknown verifier {kind!r}" + (f"; did you mean {meant[0]!r}?" if meant else ""),
            hint=f"Kinds: {', '.join(KINDS)}, 'module:function'.",
        )
    module, _, name = KINDS[kind].partition(":")
    verifier = getattr(importlib.import_module(module), name)
    _check_options(kind, verifier, options)
    try:
        return verifier(**options)  # type: ignore[no-any-return]
    except ValueError as error:
        raise RecipeError(f"verifier {kind!r}: {error}") from None


def _check_options(kind: str, verifier: type, options: dict[str, object]) -> None:
    has_options = verifier.__init__ is not object.__init__  # type: ignore[misc]
    known = inspect.signature(verifier).parameters if has_options else {}
    missing = [
        name for name, one in known.items() if one.default is one.empty and name not in options
    ]
    unknown = [name for name in options if name not in known]
    if unknown:
        meant = difflib.get_close_matches(unknown[0], known, n=1)
        found = f"unknown option {unknown[0]!r}{f'; did you mean {meant[0]!r}?' if meant else ''}"
    elif missing:
        found = f"option {missing[0]!r} is missing"
    else:
        return
    hint = f"Options: {', '.join(known) or 'none'}."
    raise RecipeError(f"verifier {kind!r}: {found}", hint=hint)
