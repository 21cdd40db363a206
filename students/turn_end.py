"""Where a student stops: the tokens that end a turn or a text, and PAD, which must be neither."""

from typing import Final

from transformers import GenerationConfig, PreTrainedTokenizerBase

from students.template_probe import QUESTION, REPLY, probe_turn, special_ids, token_ids
from students.template_probe import end_ids as end_ids  # noqa: PLC0414 - known from here

# Tokens that published tokenizers hold for padding, or that no reply contains; the first that is
# known becomes PAD where there is none that will do.
_PADS: Final = (
    *("<|finetune_right_pad_id|>", "<|fim_pad|>", "<|endoftext|>", "<|end_of_text|>"),
    *("<pad>", "[PAD]", "<unk>", "[UNK]"),
)


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that the chat template writes after an answer; ``None`` if it writes none.

    Raises:
        ModelError: If the template refuses a question and its answer.
    """
    if tokenizer.chat_template is None:  # a student of plain text has none
        return None
    special = special_ids(tokenizer)
    tail = probe_turn(tokenizer, [QUESTION], REPLY).after_answer
    return next((one for one in token_ids(tokenizer, tail) if one in special), None)


def with_turn_end(
    tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig
) -> GenerationConfig:
    """The generation config of a student: it also stops at the token that ends a turn.

    Base models often stop at their end of text only, while the template ends turns with another
    token: the student would go on and write the user's next turn.
    """
    ends = [turn_end(tokenizer), *sorted(end_ids(generation_config)), tokenizer.eos_token_id]
    unique = list(dict.fromkeys(one for one in ends if one is not None))
    config = GenerationConfig.from_dict(generation_config.to_dict())
    config.eos_token_id = unique[0] if len(unique) == 1 else unique or None
    if config.pad_token_id is None or config.pad_token_id == ends[0]:
        config.pad_token_id = tokenizer.pad_token_id
    config._from_model_config = False  # or transformers derives it anew from the model's config
    return config


def set_pad(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a tokenizer a PAD that does not end a turn, if it has one to give.

    A tool that pads masks PAD, the end of each turn with it, and the student never stops.
    """
    end = turn_end(tokenizer)
    if tokenizer.pad_token_id not in (None, end):
        return
    known = tokenizer.get_vocab()
    for pad in _PADS:
        if pad in known and known[pad] != end:
            tokenizer.pad_token = pad
            return
