"""What all peers train on: one model, one tokenizer, one set of documents, in one folder.

Runs in every environment, so it needs torch, transformers and tokenizers alone. Each word is one
token: tokenizers and chat templates make a difference of a few tokens a document.
"""

import json
import random
from pathlib import Path

ROW_TOKENS = 2048
ROWS_PER_STEP = 1
LEARNING_RATE = 1e-3
_LARGE = 100_000
SPECIALS = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<think>", "</think>"]
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m.role + '|> ' + m.content + ' <|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def write_all(folder: Path, *, vocabulary: int, tokens: int) -> None:
    """Write ``base/`` and the documents in the form that each peer reads."""
    write_base(folder / "base", vocabulary)
    documents = make_documents(vocabulary, tokens)
    text = "".join(f"{json.dumps(one)}\n" for one in documents)
    (folder / "documents.jsonl").write_text(text, encoding="utf-8")
    (folder / "documents.json").write_text(json.dumps(documents), encoding="utf-8")
    columns = {"prompt": "prompt", "response": "completion"}
    info = {"documents": {"file_name": "documents.json", "columns": columns}}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")


def make_documents(vocabulary: int, tokens: int) -> list[dict[str, str]]:
    """Prompts and completions of log-normal lengths, as traces have, until there are enough tokens.

    Half of the documents have fewer than 400 tokens; a fifth of each is its prompt.
    """
    rng = random.Random(0)
    made, total = [], 0
    while total < tokens:
        length = min(int(rng.lognormvariate(6.0, 0.7)) + 16, ROW_TOKENS - 16)
        words = [f"w{rng.randrange(vocabulary - len(SPECIALS))}" for _ in range(length)]
        asked = max(1, length // 5)
        made.append({"prompt": " ".join(words[:asked]), "completion": " ".join(words[asked:])})
        total += length
    return made


def write_base(folder: Path, vocabulary: int) -> None:
    """A random small Llama, its head tied to the embeddings if it is large."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = [*SPECIALS, *(f"w{number}" for number in range(vocabulary - len(SPECIALS)))]
    model = models.WordLevel({word: at for at, word in enumerate(words)}, unk_token=SPECIALS[0])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(SPECIALS[:5])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIALS[0],
        eos_token=SPECIALS[1],
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=ROW_TOKENS,
        tie_word_embeddings=vocabulary > _LARGE,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
