"""A GGUF file of a small Llama with one of our tokenizers, for llama.cpp's server.

llama.cpp splits text by one of the rules that it knows by name, and ours is none of them. Our
pieces are whole words, so the split into the fewest pieces is ours nearly always: its unigram
vocabulary finds that one when every piece has the same score. The tests compare the tokens and the
greedy text with those of transformers.

This module knows files, nothing of servers.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter, TokenType
from safetensors.numpy import load_file

_SPACE = "▁".encode()
_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OTHER_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write_gguf(folder: Path, path: Path) -> None:
    """Write the model in ``folder``, as transformers saves it, to one GGUF file in float32."""
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "llama"
    writer = GGUFWriter(path, "llama")
    writer.add_name(folder.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(0)
    _add_tokenizer(writer, folder, config)
    for name, weight in load_file(folder / "model.safetensors").items():
        writer.add_tensor(_gguf_name(name), _permuted(name, weight.astype(np.float32), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    special = {each["content"]: each["special"] for each in tokenizer["added_tokens"]}
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    tokens, types = [], []
    for token in sorted(vocabulary, key=vocabulary.__getitem__):
        if token in special:
            tokens.append(token.encode())
            types.append(TokenType.CONTROL if special[token] else TokenType.USER_DEFINED)
        else:
            piece = bytes(map(_BYTE_OF.__getitem__, token))
            is_text = piece.isascii()
            tokens.append(piece.replace(b" ", _SPACE) if is_text else b"<0x%02X>" % piece[0])
            types.append(TokenType.NORMAL if is_text else TokenType.BYTE)
    writer.add_tokenizer_model("t5")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_scores([-1.0] * len(tokens))
    writer.add_add_space_prefix(False)
    writer.add_remove_extra_whitespaces(False)
    writer.add_unk_token_id(config["pad_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template((folder / "chat_template.jinja").read_text())


def _gguf_name(name: str) -> str:
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    _, _, layer, part = name.split(".", 3)
    return f"blk.{layer}.{_LAYER_NAMES[part.removesuffix('.weight')]}.weight"


def _permuted(name: str, weight: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """Rows of queries and keys in the order of llama.cpp's rotary positions.

    transformers pairs row ``i`` of a head with row ``i + half``; llama.cpp pairs neighbours.
    """
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return weight
    half = config["head_dim"] // 2
    rows, columns = weight.shape
    return weight.reshape(-1, 2, half, columns).swapaxes(1, 2).reshape(rows, columns)


def _byte_characters() -> dict[str, int]:
    """The character that byte-level tokenizers write for each byte, and that byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


_BYTE_OF = _byte_characters()
