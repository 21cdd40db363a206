r"""The tokenizer of the embedded models: one token per word and per number 0..99.

Words come from the problem generator itself. Whatever else a user types falls back to bytes, so
every text survives encoding and decoding. A space before a number belongs to the word before it,
so a number is the same token everywhere:

    "Mia has 12 apples." -> ["Mia", " has ", "12", " apples", "."]
    "\boxed{12}."        -> ["\boxed{", "12", "}."]
"""

import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from distill.problems import KINDS, make_problem

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|user|>", "<|assistant|>", "<|system|>")
THINK_TAGS = ("<think>", "</think>")

# The templates of the problem generator, each with every way to go on, are far fewer than this.
_PROBLEMS_READ = 20_000

_PIECES = (
    r"[0-9]{1,2}"  # a number; larger ones fall into pieces of two digits
    r"| ?\\boxed\{"
    r"| ?[A-Za-z]+(?: (?=[0-9]))?"
    r"| ?[^\sA-Za-z0-9]+(?: (?=[0-9]))?"
    r"|\n+|\s"
)

# One question at a time: the models never saw a second one, so a conversation is what follows the
# last thing the user said. Reasoning of that turn is kept, so that training text survives.
CHAT_TEMPLATE = """\
{%- set ns = namespace(last=0) -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages[ns.last:] -%}
{%- if message.role == 'assistant' -%}
{{- '<|assistant|>' -}}
{%- if message.reasoning_content is defined and message.reasoning_content is not none -%}
{{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' -}}
{%- endif -%}
{{- message.content + '<|end|>' -}}
{%- else -%}
{{- '<|' + message.role + '|>' + message.content + '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer from the problem generator; the same one every time."""
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    words = {piece for text in _surface() for piece, _ in split.pre_tokenize_str(text)}
    words |= {str(number) for number in range(100)}
    specials = [PAD, END, *ROLES, *THINK_TAGS]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*specials, *alphabet, *sorted(words - set(alphabet))]
    # No merges: a piece is one token when the vocabulary has it, and bytes when not.
    model = models.BPE(
        vocab={entry: index for index, entry in enumerate(entries)}, merges=[], ignore_merges=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in (PAD, END, *ROLES)])
    tokenizer.add_tokens([AddedToken(tag, special=False) for tag in THINK_TAGS])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def answer_text(answer: int | str) -> str:
    r"""What stands after the reasoning, such as ``The answer is \boxed{42}.``."""
    return f"The answer is \\boxed{{{answer}}}."


def _surface() -> list[str]:
    """Texts that hold every word of the problem generator, with what stands around it."""
    rng = random.Random("surface")
    texts = [answer_text(42), "\n", "\n\n"]
    for index in range(_PROBLEMS_READ):
        problem = make_problem(KINDS[index % len(KINDS)], 1 + index // len(KINDS) % 5, rng)
        texts += [problem.text, "\n".join(problem.work)]
    return texts
