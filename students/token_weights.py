r"""How much each token counts in the loss: reasoning and answer apart.

    <think> twice 2 </think> \n\n 4 <|end|>
    [---- reasoning_weight -][answer_weight]

Rows without a closing think tag are all answer. Tokens of weight 0 are not trained at all.
"""

from bisect import bisect_left
from dataclasses import replace

import torch
from transformers import PreTrainedTokenizerBase

from distill.reasoning import THINK_CLOSE
from students.template import TokenizedExample


def weigh_tokens(
    example: TokenizedExample,
    tokenizer: PreTrainedTokenizerBase,
    *,
    reasoning_weight: float,
    answer_weight: float,
) -> TokenizedExample:
    """The example with a weight for each token.

    Args:
        example: As the template made it; each of its trained spans is one turn.
        tokenizer: That made its tokens.
        reasoning_weight: Of tokens up to the end of the closing think tag.
        answer_weight: Of what follows in the turn.
    """
    if reasoning_weight == answer_weight == 1:
        return example
    weights_T = torch.full((len(example),), answer_weight)
    for start, end in _spans(example.is_trained):
        token_ids = example.token_ids[start:end].tolist()
        weights_T[start : start + reasoning_tokens(token_ids, tokenizer)] = reasoning_weight
    return replace(
        example, is_trained=example.is_trained & (weights_T > 0), token_weights=weights_T
    )


def reasoning_tokens(token_ids: list[int], tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens of a turn are reasoning, the closing tag included."""
    tag_id = tokenizer.convert_tokens_to_ids(THINK_CLOSE)
    if isinstance(tag_id, int) and tag_id != tokenizer.unk_token_id and tag_id in token_ids:
        return token_ids.index(tag_id) + 1

    def is_closed(count: int) -> bool:
        return THINK_CLOSE in tokenizer.decode(token_ids[:count])

    # The tag is several tokens: the shortest beginning that holds it ends with it.
    counts = range(len(token_ids) + 1)
    return bisect_left(counts, True, key=is_closed) % (len(token_ids) + 1)


def _spans(is_trained_T: torch.Tensor) -> list[tuple[int, int]]:
    """Runs of trained tokens, as first and last + 1."""
    edges = torch.diff(is_trained_T.int(), prepend=torch.zeros(1), append=torch.zeros(1))
    starts, ends = (edges == 1).nonzero(), (edges == -1).nonzero()
    return list(zip(starts.flatten().tolist(), ends.flatten().tolist(), strict=True))
