"""What is trained, for each method: the model, an adapter on it, or one over a base of four bits.

The loop knows no method: it gets a module and trains what asks for a gradient. Where there is a GPU
and flash-attn or Liger are installed, they are used; without them the results are the same.
"""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import BitsAndBytesConfig, PreTrainedModel, set_seed
from transformers.utils.import_utils import is_flash_attn_2_available

from distill.errors import MissingDependencyError, ModelError
from distill.train_sections import TrainSection
from engine.attention import PER_EXAMPLE
from engine.folder import LoadedModel
from students.adapters import attach_adapter, merge_adapter, merge_into_copy
from students.lean_layers import make_lean
from students.load import load_student
from students.row_loss import RowLoss

# From here on the activations of a long row are what memory is spent on.
_RECOMPUTED_PARAMETERS = 100_000_000


@dataclass(frozen=True, slots=True)
class Trainable:
    """What the loop trains, and what it is made of.

    Attributes:
        method: As in the recipe.
        module: The language model, or the adapter around it.
        row_loss: Runs it on a row.
        loaded: The base with its tokenizer.
        autocast: Whether matrices are multiplied in bf16, whatever they are stored in.
        offloads: Whether what backward needs waits in main memory.
    """

    method: str
    module: PreTrainedModel | PeftModel
    row_loss: RowLoss
    loaded: LoadedModel
    autocast: bool
    offloads: bool


def load_trainable(
    base: Path, section: TrainSection, seed: int, *, device: str | None = None
) -> Trainable:
    """Load a base and make it trainable.

    Args:
        base: Folder of the base.
        section: Method, precision, what happens to activations.
        seed: Of a fresh adapter's weights.
        device: Where it goes; by default the GPU if there is one.

    Raises:
        MissingDependencyError: If a library that the method needs is not installed.
        ModelError: If the base cannot be loaded or trained on packed rows.
    """
    autocast = is_mixed(section)
    dtype = torch.float32
    if section.precision == "bf16" or (autocast and section.method != "full"):
        dtype = torch.bfloat16  # a frozen base needs no finer steps
    quantization = _four_bits(autocast) if section.method == "qlora" else None
    loaded = load_student(base, dtype=dtype, device=device, quantization=quantization)
    _keep_packing(loaded.model)
    loaded = replace(loaded, model=_with_packed_attention(loaded))
    if not uses_liger():
        make_lean(loaded.model)
    activations = _activations(section, loaded.model.num_parameters())
    if activations != "kept":
        loaded.model.gradient_checkpointing_enable({"use_reentrant": False})
    module: PreTrainedModel | PeftModel = loaded.model
    if section.method != "full":
        set_seed(seed)
        module = attach_adapter(loaded.model, section.lora)
    return Trainable(
        section.method,
        module,
        RowLoss(loaded.model),
        loaded,
        autocast,
        offloads=activations == "offloaded",
    )


def finished_model(trainable: Trainable, adapter: Path | None) -> PreTrainedModel:
    """The student as a plain model: an adapter is folded into what it was trained on.

    Over four bits that is the base as those bits stand for it, in its original precision, so that
    the student computes what was trained.

    Args:
        trainable: After training.
        adapter: Folder of its saved adapter, if it has one.
    """
    module = trainable.module
    if not isinstance(module, PeftModel):
        return module
    if getattr(trainable.loaded.model, "is_loaded_in_4bit", False):
        assert adapter is not None
        return merge_into_copy(trainable.loaded, adapter)
    return merge_adapter(module)


def is_mixed(section: TrainSection) -> bool:
    """Whether matrices are multiplied in bf16."""
    if section.precision == "auto":
        return torch.cuda.is_available()
    return section.precision != "fp32"


def uses_liger() -> bool:
    """Whether Liger's kernels are used: they need a GPU."""
    return torch.cuda.is_available() and find_spec("liger_kernel") is not None


def _activations(section: TrainSection, parameters: int) -> str:
    if section.activations != "auto":
        return section.activations
    return "recomputed" if parameters >= _RECOMPUTED_PARAMETERS else "kept"


def _four_bits(autocast: bool) -> BitsAndBytesConfig:
    if find_spec("bitsandbytes") is None:
        raise MissingDependencyError(
            "train.method = 'qlora' needs bitsandbytes, which is not installed",
            hint="pip install bitsandbytes, or set train.method to 'lora'",
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if autocast else torch.float32,
    )


def _keep_packing(model: PreTrainedModel) -> None:
    """Four bits stay as they are in evaluation too.

    On some CPUs bitsandbytes packs them anew, with coarser scales, once a layer is not training:
    measuring what is held out would change what is trained.
    """
    layer: Any
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def _with_packed_attention(loaded: LoadedModel) -> PreTrainedModel:
    """The model with attention that stays inside the examples of a row."""
    has_flash = torch.cuda.is_available() and is_flash_attn_2_available()
    try:
        loaded.model.set_attn_implementation("flash_attention_2" if has_flash else PER_EXAMPLE)
    except ValueError as error:
        raise ModelError(
            f"{loaded.folder}: this architecture cannot be trained on packed rows: {error}",
            hint="choose a Qwen2, Qwen3 or Llama student",
        ) from error
    return loaded.model
