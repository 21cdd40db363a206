"""The shard plan against published sizes, transformers' own models and real files."""

from pathlib import Path
from typing import Any

import pytest
import torch

from distill.errors import DataError, ModelError
from teachers.moe_config import CHECKED, FORMATS, architecture_of, find_architecture
from teachers.shard_cost import Job, from_disk, speeds_of
from teachers.shard_model import find_model
from teachers.shard_plan import (
    GIB,
    Cluster,
    Layout,
    Wish,
    enough_gpus,
    layouts,
    plan_device,
    plan_shards,
)
from teachers.shard_weights import active_parameters, file_bytes, parameters
from tests.teachers.big_models import CONFIGS, build

R1 = find_architecture("deepseek-ai/DeepSeek-R1")
SIXTEEN = Cluster(16, 80 * GIB)


def facts_of(model_type: str, **changes: Any) -> Any:
    config = {"model_type": model_type, **CONFIGS[model_type], **changes}
    return architecture_of(config, model_type, where=model_type)


def test_deepseek_v3_has_the_published_size_and_cache() -> None:
    assert sum(file_bytes(R1).values()) == pytest.approx(685e9, rel=0.02)
    assert parameters(R1) == pytest.approx(671e9, rel=0.001)
    assert active_parameters(R1) == pytest.approx(37e9, rel=0.02)
    assert R1.cache_bytes_per_token == pytest.approx(70e3, rel=0.02)


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [("Qwen3-30B-A3B", 30.5e9, 3.3e9), ("Qwen/Qwen3-235B-A22B", 235e9, 22e9)],
)
def test_qwen3_moe_has_the_published_sizes(name: str, total: float, active: float) -> None:
    facts = find_architecture(name)
    assert parameters(facts) == pytest.approx(total, rel=0.002)
    assert active_parameters(facts) == pytest.approx(active, rel=0.02)


@pytest.mark.parametrize("model_type", CHECKED)
def test_weights_are_those_that_transformers_makes(model_type: str) -> None:
    with torch.device("meta"):
        model = build(model_type)
    made = {id(one): one.numel() for one in model.parameters()}
    # The router's bias is a buffer there, and a weight in the files.
    made |= {
        id(one): one.numel() for name, one in model.named_buffers() if "correction_bias" in name
    }
    assert parameters(facts_of(model_type)) == sum(made.values())


@pytest.mark.parametrize("model_type", ["deepseek_v3", "qwen3_moe", "llama"])
def test_planned_files_are_within_1_percent_of_the_headers(tmp_path: Path, model_type: str) -> None:
    build(model_type).to(torch.bfloat16).save_pretrained(tmp_path, max_shard_size="100KB")
    found = find_model(str(tmp_path))
    assert found.header_bytes is not None
    assert found.file_bytes == pytest.approx(found.header_bytes, rel=0.01)
    assert not any("another format" in note for note in found.notes)


def test_files_in_another_format_than_the_config_says_are_noticed(tmp_path: Path) -> None:
    model = build("qwen3_moe")
    model.save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text(encoding="utf-8")
    (tmp_path / "config.json").write_text(text.replace("float32", "bfloat16"), encoding="utf-8")
    assert any("another format" in note for note in find_model(str(tmp_path)).notes)


def test_one_device_holds_the_model_without_its_draft_layers() -> None:
    plan = plan_device(R1, Layout(1, 1, 1, 1), SIXTEEN, Wish(4096))
    stored = file_bytes(R1)
    assert plan.weight_bytes == sum(stored.values()) - stored["draft"]


@pytest.mark.parametrize("layout", list(layouts(R1, SIXTEEN)), ids=str)
def test_all_devices_together_hold_each_weight_once_at_least(layout: Layout) -> None:
    stored = file_bytes(R1)
    plan = plan_device(R1, layout, SIXTEEN, Wish(4096))
    assert layout.gpus == 16
    assert plan.weight_bytes * 16 >= sum(stored.values()) - stored["draft"]
    # The fullest stage holds one layer more than others at most.
    copies = layout.data if layout.expert == 1 else 1
    assert plan.weights["routed"] * 16 <= copies * stored["routed"] * 1.2


def test_a_latent_cache_is_whole_on_each_tensor_rank_and_grouped_heads_are_shared() -> None:
    qwen = find_architecture("Qwen3-30B-A3B")
    wish = Wish(1000)
    for facts, shared in ((R1, 1), (qwen, 4)):
        alone = plan_device(facts, Layout(1, 1, 1, 8), SIXTEEN, wish).cache_per_sequence
        cut = plan_device(facts, Layout(8, 1, 1, 1), SIXTEEN, wish).cache_per_sequence
        assert alone == facts.cache_bytes_per_token * 1000
        assert cut * shared == alone


def test_a_block_that_has_one_scale_is_not_cut() -> None:
    """768 columns over 8 devices are 96: vLLM refuses that in FP8."""
    config = {"hidden_size": 2048, "moe_intermediate_size": 768, "head_dim": 64}
    facts = facts_of("qwen3_moe", **config, num_attention_heads=8, intermediate_size=1024)
    quantised = facts_of(
        "qwen3_moe",
        **{**config, "num_attention_heads": 8, "intermediate_size": 1024},
        quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]},
    )
    cluster = Cluster(8, 80 * GIB)
    assert Layout(8, 1, 1, 1) in list(layouts(facts, cluster))
    assert Layout(8, 1, 1, 1) not in list(layouts(quantised, cluster))
    assert Layout(8, 8, 1, 1) in list(layouts(quantised, cluster))


def test_published_machines_fit_and_smaller_ones_do_not() -> None:
    """DeepSeek-R1 runs on 8 x H200 and 16 x H100, and on no 8 x H100."""
    wish = Wish(8192)
    assert plan_shards(R1, Cluster(8, 140 * GIB), wish)[0].holds(None)
    assert plan_shards(R1, SIXTEEN, wish)[0].holds(None)
    assert not any(plan.holds(None) for plan in plan_shards(R1, Cluster(8, 80 * GIB), wish))
    assert enough_gpus(R1, Cluster(8, 80 * GIB), wish) == 16
    assert enough_gpus(R1, Cluster(1, GIB), wish) is None


def test_what_fits_is_no_fuller_than_the_device() -> None:
    for plan in plan_shards(R1, SIXTEEN, Wish(32768)):
        if plan.holds(None):
            assert plan.total(plan.sequences) <= plan.usable
            assert plan.total(plan.sequences + plan.layout.data) > plan.usable


def test_reading_from_a_disk_takes_centuries() -> None:
    said = from_disk(R1, 24 * GIB, Job(800_000, 6000))
    years = int(said.rpartition("take ")[2].removesuffix(" years").replace(",", ""))
    assert years > 500


def test_a_speed_is_said_with_its_source_and_only_of_the_model_it_was_reached_with() -> None:
    assert all(speed.source and speed.is_published for speed in speeds_of(R1))
    assert len(speeds_of(R1)) == 3
    assert speeds_of(find_architecture("Qwen3-30B-A3B")) == []


def test_formats_differ_by_their_bits() -> None:
    sizes = {name: find_model("Qwen3-30B-A3B", name).file_bytes for name in FORMATS}
    assert sizes["fp32"] == 2 * sizes["bf16"]
    assert sizes["int4"] < sizes["fp8"] < sizes["bf16"]


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    build("qwen3_moe").save_pretrained(tmp_path, max_shard_size="200KB")
    return tmp_path


def test_a_missing_shard_is_named(sharded: Path) -> None:
    gone = sorted(sharded.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(ModelError, match=rf"1 of \d+ weight files are missing: {gone.name}"):
        find_model(str(sharded))


def test_a_cut_shard_is_named_with_both_lengths(sharded: Path) -> None:
    cut = sorted(sharded.glob("*.safetensors"))[0]
    size = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(ModelError, match=rf"{cut.name}: cut off: {size - 10:,} bytes"):
        find_model(str(sharded))


@pytest.mark.parametrize("content", [b"", b"<html>no such file</html>", b"\x08" + bytes(30)])
def test_a_corrupt_shard_is_named(sharded: Path, content: bytes) -> None:
    broken = sorted(sharded.glob("*.safetensors"))[0]
    broken.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{broken.name}: corrupt"):
        find_model(str(sharded))


def test_a_dense_model_is_planned_and_said_to_be_one(tmp_path: Path) -> None:
    build("llama").save_pretrained(tmp_path)
    found = find_model(str(tmp_path))
    assert any("not a mixture of experts" in note for note in found.notes)
    assert all(layout.expert == 1 for layout in layouts(found.facts, Cluster(2, GIB)))


def test_a_config_without_a_key_names_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_moe"}', encoding="utf-8")
    with pytest.raises(DataError, match="the key 'num_hidden_layers' is missing"):
        find_model(str(tmp_path))


def test_an_unknown_name_says_what_is_known() -> None:
    with pytest.raises(ModelError, match="Qwen3-30B-A3B"):
        find_model("DeepSeek-R7")
