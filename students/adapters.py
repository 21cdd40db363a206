"""LoRA: attach an adapter to all linear layers, save it, merge it into the base.

All linear layers, those of the MLP included, as "LoRA Without Regret" (2025) found necessary; the
output layer is left alone. An adapter is saved with its base's fingerprint: on another base it
would load without a word and compute nonsense.
"""

import json
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from distill.errors import ModelError
from distill.train_sections import LoraSection
from engine.folder import LoadedModel, load_folder, quiet_transformers
from engine.model_files import weights_fingerprint

_BASE = "base.json"
_CONFIG = "adapter_config.json"


def attach_adapter(model: PreTrainedModel, section: LoraSection) -> PeftModel:
    """Freeze the model and put a fresh adapter on it; its weights come from torch's seed."""
    config = LoraConfig(
        r=section.r,
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        use_rslora=section.rslora,
        use_dora=section.dora,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with quiet_transformers():
        return cast("PeftModel", get_peft_model(model, config))


def save_adapter(model: PeftModel, folder: Path, base: Path) -> None:
    """Write the adapter as peft reads it, and which base it is for.

    Args:
        model: Base with adapter.
        folder: Made if missing.
        base: Folder that the base was loaded from.
    """
    with quiet_transformers():
        model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # peft's, empty
    record = {"name": base.name, "fingerprint": weights_fingerprint(base)}
    (folder / _BASE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def load_adapter(loaded: LoadedModel, folder: Path) -> PeftModel:
    """Put a saved adapter on its base.

    Raises:
        ModelError: If the folder holds no adapter, or one of another base.
    """
    check_base(folder, loaded.folder)
    with quiet_transformers():
        try:
            return PeftModel.from_pretrained(loaded.model, str(folder))
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"{folder}: the adapter cannot be loaded: {error}",
                hint="it may be damaged, or belong to a model of another shape",
            ) from error


def check_base(folder: Path, base: Path) -> None:
    """Check that an adapter belongs to a base, as far as the adapter says.

    Adapters that other tools wrote do not say; those pass.

    Raises:
        ModelError: If the folder holds no adapter, or one of another base.
    """
    if not (folder / _CONFIG).is_file():
        raise ModelError(
            f"{folder}: no adapter, {_CONFIG} is missing",
            hint=f"an adapter is {_CONFIG} with adapter_model.safetensors",
        )
    record = _base_record(folder / _BASE)
    found = weights_fingerprint(base)
    if record is not None and record.get("fingerprint") != found:
        raise ModelError(
            f"{folder}: this adapter was trained on another base: {record.get('name')}, "
            f"fingerprint {record.get('fingerprint')}; {base} has {found}",
            hint="give the folder of the base that it was trained on; an adapter on another one "
            "computes nonsense",
        )


def merge_adapter(model: PeftModel) -> PreTrainedModel:
    """Fold the adapter into the base and return the base; the adapter is gone from memory."""
    return cast("PreTrainedModel", model.merge_and_unload())


def merge_into_copy(quantised: LoadedModel, adapter: Path) -> PreTrainedModel:
    """Fold a saved adapter into the weights that a base of four bits stands for.

    Args:
        quantised: The base as the adapter was trained on it.
        adapter: Folder of the adapter.

    Returns:
        A plain model on the CPU, in the precision in which the base is stored.
    """
    plain = load_folder(quantised.folder, dtype=quantised.stored_dtype)
    with torch.no_grad():
        for name, module in quantised.model.named_modules():
            state = getattr(getattr(module, "weight", None), "quant_state", None)
            if state is not None:
                layer = cast("torch.nn.Linear", plain.model.get_submodule(_plain_name(name)))
                layer.weight.copy_(_dequantised(module))
    return merge_adapter(load_adapter(plain, adapter))


def _plain_name(name: str) -> str:
    """A module's name in the model without an adapter around it."""
    return name.removesuffix(".base_layer")


def _dequantised(layer: Any) -> torch.Tensor:  # noqa: ANN401 - bitsandbytes has no types
    from bitsandbytes.functional import dequantize_4bit

    weight: torch.Tensor = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return weight


def _base_record(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON: {error}") from None
    return record if isinstance(record, dict) else {}
