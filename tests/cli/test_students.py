"""``distill students``: the list, one of them, and the same for programs."""

import json

from students.catalog import catalog
from tests.cli.conftest import Invoke


def test_every_student_is_listed_and_each_size_has_what_fits(invoke: Invoke) -> None:
    shown = invoke("students")
    assert shown.code == 0, shown.err
    for name in catalog():
        assert f"  {name} " in shown.out
    header, *rows = shown.out.split("(distill fit NAME")[1].splitlines()[1:17]
    assert header.split() == ["8", "GB", "12", "GB", "16", "GB", "24", "GB", "48", "GB", "80", "GB"]
    assert len(rows) == len({(one.family, one.size) for one in catalog().values()})
    assert max(map(len, shown.out.splitlines())) <= 80


def test_one_student_has_facts_licence_settings_and_how_to_name_it(invoke: Invoke) -> None:
    shown = invoke("students", "llama-3.1-8b").out
    assert shown.startswith("meta-llama/Llama-3.1-8B  Llama-3 8B\n")
    assert "8,030,261,248" in shown
    assert "its name begins with 'Llama'" in shown
    assert "HF_TOKEN" in shown
    assert "DeepSeek-R1-Distill-Llama-8B  full, learning rate 5e-05" in shown
    assert "about ten times the full learning rate" in shown
    assert 'model = "meta-llama/Llama-3.1-8B"' in shown


def test_a_larger_gpu_never_fits_less_and_an_adapter_never_needs_more(invoke: Invoke) -> None:
    (one,) = json.loads(invoke("students", "Qwen2.5-7B", "--json").out)
    lengths = one["longest_row"]
    assert list(lengths) == ["8", "12", "16", "24", "48", "80"]
    for method in ("full", "lora", "qlora"):
        grown = [by_method[method] for by_method in lengths.values()]
        assert grown == sorted(grown)
    assert all(one["full"] <= one["lora"] <= one["qlora"] for one in lengths.values())
    assert lengths["80"]["lora"] > 32_768
    assert one["architecture"]["parameters"] == 7_615_616_512


def test_an_unknown_student_is_one_message(invoke: Invoke) -> None:
    shown = invoke("students", "Qwen2.5-8B")
    assert shown.code == 6
    assert "did you mean" in shown.err
