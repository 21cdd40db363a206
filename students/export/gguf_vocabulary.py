"""A tokenizer in GGUF's words: tokens, types, merges, and the name of the rule that splits text.

llama.cpp splits text by one of the rules that it knows by name; ours are found by their pattern. A
vocabulary of whole words without merges, such as that of the embedded models, is written as a
unigram one: the split into the fewest pieces is the tokenizer's own nearly always, and the check
after the export counts where it is not.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from distill.errors import ModelError
from students.export.gguf_format import Value

_NORMAL, _, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
_PUNCTUATION_AND_SPACE = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|"
_BYTE_LEVEL = "ByteLevel"
# Patterns in the order of their use, to llama.cpp's name for them.
_RULES: Final[Mapping[tuple[str, ...], str]] = {
    (_CONTRACTIONS + _WORDS + r"\p{N}|" + _PUNCTUATION_AND_SPACE,): "qwen2",
    (_CONTRACTIONS + _WORDS + r"\p{N}{1,3}|" + _PUNCTUATION_AND_SPACE,): "llama-bpe",
    (_BYTE_LEVEL,): "gpt-2",
    ("Digits", _BYTE_LEVEL): "smollm",
}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer for GGUF.

    Attributes:
        metadata: Keys and values for the file.
        is_exact: Whether llama.cpp makes the same tokens of every text in Unicode's composed form.
    """

    metadata: dict[str, Value]
    is_exact: bool


def read_vocabulary(
    folder: Path, config: Mapping[str, Any], generation: Mapping[str, Any]
) -> Vocabulary:
    """The tokenizer of a model folder.

    Args:
        folder: With ``tokenizer.json``.
        config: Of the model; its ``vocab_size`` is the number of tokens that are written.
        generation: Its generation config, which knows where to stop.

    Raises:
        ModelError: If llama.cpp has no such tokenizer.
    """
    path = folder / "tokenizer.json"
    try:
        tokenizer = json.loads(path.read_text(encoding="utf-8"))
        model = tokenizer["model"]
        vocab: Mapping[str, int] = model["vocab"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    if model.get("type") != "BPE":
        raise _unsupported(path, f"a tokenizer of type {model.get('type')}")
    added = {each["id"]: each for each in tokenizer.get("added_tokens", [])}
    pieces = {place: text for text, place in vocab.items()}
    pieces |= {place: each["content"] for place, each in added.items()}
    size = max(int(config["vocab_size"]), max(pieces) + 1)
    values, is_exact = _byte_level(path, tokenizer, pieces, added, size)
    values |= _special(tokenizer, folder, config, generation)
    return Vocabulary(values, is_exact)


def chat_template(folder: Path) -> str | None:
    """The chat template of a model folder, if there is one."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = tokenizer_config(folder).get("chat_template")
    return template if isinstance(template, str) else None


def tokenizer_config(folder: Path) -> dict[str, Any]:
    """``tokenizer_config.json``; empty if there is none."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def token_texts(folder: Path, token_ids: Sequence[int]) -> list[str]:
    """What special tokens look like in a text."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content = {each["id"]: each["content"] for each in tokenizer.get("added_tokens", [])}
    return [content[token] for token in token_ids if token in content]


def end_tokens(config: Mapping[str, Any], generation: Mapping[str, Any]) -> list[int]:
    """Tokens at which generation stops, the end of a turn first."""
    found = generation.get("eos_token_id")
    found = config.get("eos_token_id") if found is None else found
    return [] if found is None else [found] if isinstance(found, int) else list(found)


def _byte_level(
    path: Path,
    tokenizer: Mapping[str, Any],
    pieces: Mapping[int, str],
    added: Mapping[int, Mapping[str, Any]],
    size: int,
) -> tuple[dict[str, Value], bool]:
    steps = tuple(_split_rules(tokenizer.get("pre_tokenizer")))
    merges = [_merge_text(each) for each in tokenizer["model"].get("merges", [])]
    plain = [text for place, text in pieces.items() if place not in added]
    if _BYTE_LEVEL not in str(tokenizer.get("pre_tokenizer")):
        raise _unsupported(path, "a tokenizer that is not byte-level")
    rule = _RULES.get(steps)
    if rule is None and all(len(text) == 1 for text in plain):
        rule = "gpt-2"  # single bytes are the same tokens whatever the split
    if rule is None and not merges:
        return _unigram(pieces, added, size), False
    if rule is None:
        raise _unsupported(path, f"text is split by a pattern that it does not know: {steps}")
    tokens, types = _listed(pieces, added, size)
    values: dict[str, Value] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": rule,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": merges,
    }
    return values, True


def _unigram(
    pieces: Mapping[int, str], added: Mapping[int, Mapping[str, Any]], size: int
) -> dict[str, Value]:
    """Words of equal score, spaces marked; bytes that are no characters stand for themselves."""
    tokens, types = _listed(pieces, added, size)
    byte_of = _byte_of_characters()
    for place, text in pieces.items():
        if place in added:
            continue
        piece = bytes(byte_of[character] for character in text)
        is_text = piece.isascii()
        plain = piece.decode("ascii").replace(" ", _SPACE) if is_text else f"<0x{piece[0]:02X}>"
        tokens[place], types[place] = plain, _NORMAL if is_text else _BYTE
    return {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.scores": [-1.0] * len(tokens),
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.ggml.remove_extra_whitespaces": False,
        "tokenizer.ggml.unknown_token_id": min(added, default=0),
    }


def _special(
    tokenizer: Mapping[str, Any],
    folder: Path,
    config: Mapping[str, Any],
    generation: Mapping[str, Any],
) -> dict[str, Value]:
    place_of = {each["content"]: each["id"] for each in tokenizer.get("added_tokens", [])}
    named = tokenizer_config(folder)
    begin = _begin_token(tokenizer.get("post_processor"))
    values: dict[str, Value] = {"tokenizer.ggml.add_bos_token": begin is not None}
    values["tokenizer.ggml.add_eos_token"] = False
    begin_id = place_of.get(begin or _text_of(named.get("bos_token")), config.get("bos_token_id"))
    pad_id = place_of.get(_text_of(named.get("pad_token")), config.get("pad_token_id"))
    if begin_id is not None:
        values["tokenizer.ggml.bos_token_id"] = int(begin_id)
    if pad_id is not None:
        values["tokenizer.ggml.padding_token_id"] = int(pad_id)
    keys = ("eos", "eot", "eom")
    for key, end in zip(keys, end_tokens(config, generation), strict=False):
        values[f"tokenizer.ggml.{key}_token_id"] = end
    if template := chat_template(folder):
        values["tokenizer.chat_template"] = template
    return values


def _listed(
    pieces: Mapping[int, str], added: Mapping[int, Mapping[str, Any]], size: int
) -> tuple[list[str], list[int]]:
    """Tokens in the order of their numbers, and their types; numbers without a token are filled."""
    tokens, types = [], []
    for place in range(size):
        if place in added:
            types.append(_CONTROL if added[place].get("special") else _USER_DEFINED)
        else:
            types.append(_NORMAL if place in pieces else _UNUSED)
        tokens.append(pieces.get(place, f"[PAD{place}]"))
    return tokens, types


def _split_rules(step: Mapping[str, Any] | None) -> Iterator[str]:
    """What splits text, step by step: patterns, or the names of steps that have their own."""
    if step is None:
        return
    match step["type"]:
        case "Sequence":
            for inner in step["pretokenizers"]:
                yield from _split_rules(inner)
        case "Split":
            yield str(step["pattern"].get("Regex", step["pattern"]))
        case "ByteLevel" if step.get("add_prefix_space"):
            yield "ByteLevel with a space before the text"
        case "ByteLevel" if not step.get("use_regex", True):
            return
        case name:
            yield str(name)


def _begin_token(step: Mapping[str, Any] | None) -> str | None:
    """The token that is put before every text, if there is one."""
    if step is None:
        return None
    if step["type"] == "Sequence":
        found = map(_begin_token, step["processors"])
        return next((token for token in found if token is not None), None)
    single: Sequence[Mapping[str, Any]] = step.get("single", [])
    first = single[0] if step["type"] == "TemplateProcessing" and single else {}
    return str(first["SpecialToken"]["id"]) if "SpecialToken" in first else None


def _merge_text(merge: str | Sequence[str]) -> str:
    return merge if isinstance(merge, str) else " ".join(merge)


def _text_of(token: str | Mapping[str, Any] | None) -> str:
    return token["content"] if isinstance(token, Mapping) else token or ""


def _unsupported(path: Path, found: str) -> ModelError:
    rules = ", ".join(sorted(set(_RULES.values())))
    return ModelError(
        f"{path}: llama.cpp cannot be told about this tokenizer: {found}",
        hint=f"byte-level BPE that splits like {rules} can be written; or export it as"
        " safetensors: --format safetensors",
    )


def _byte_of_characters() -> dict[str, int]:
    """The character that byte-level tokenizers write for each byte, to that byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }
