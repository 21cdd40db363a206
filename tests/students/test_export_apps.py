"""Chat templates taken apart, and what Ollama and LM Studio are told."""

import json
from pathlib import Path

import pytest

from distill.types import Sampling
from students.export.apps import go_template, lm_studio_preset, modelfile
from students.export.turns import ChatTemplate, Turns, take_apart
from students.load import EMBEDDED
from tests.students.conftest import TEMPLATE

DEFAULT_SYSTEM = (
    "{%- if messages[0].role != 'system' %}{{- '<s>system\\nYou help.</s>\\n' }}{%- endif %}"
    "{%- for m in messages %}{{- '<s>' + m.role + '\\n' + m.content + '</s>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<s>assistant\\n<think>\\n' }}{%- endif %}"
)
TEMPLATES = {
    "plain": TEMPLATE,
    "default system": DEFAULT_SYSTEM,
    "forgetful": (EMBEDDED / "chat_template.jinja").read_text(),
    **{
        path.stem: path.read_text()
        for path in sorted((EMBEDDED.parent / "templates").glob("*.jinja"))
    },
}
CONVERSATIONS = [
    [("user", "one?")],
    [("user", "one?"), ("assistant", "1"), ("user", "two?")],
    [("system", "Be short."), ("user", "one?"), ("assistant", "1"), ("user", "two?")],
]


def taken_apart(source: str) -> tuple[ChatTemplate, Turns]:
    template = ChatTemplate(source, bos_token="<bos>", eos_token="<eos>")
    turns = take_apart(template)
    assert turns is not None
    return template, turns


@pytest.mark.parametrize("name", TEMPLATES)
def test_parts_put_together_are_what_the_template_renders(name: str) -> None:
    template, turns = taken_apart(TEMPLATES[name])
    assert turns.is_exact
    for conversation in CONVERSATIONS:
        assert turns.render(conversation) == template.render(conversation)


def test_template_that_counts_turns_is_known_to_differ() -> None:
    _, turns = taken_apart(
        "{% for m in messages %}{{ loop.index }}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}!{% endif %}"
    )
    assert not turns.is_exact
    assert "differs a little" in modelfile("x.gguf", turns, [], Sampling(), 10)


def test_ollama_gets_each_role_the_stops_and_the_sampling() -> None:
    _, turns = taken_apart(DEFAULT_SYSTEM)
    text = modelfile("m-Q8_0.gguf", turns, ["</s>", 'a"b'], Sampling(0.6, 0.95), 4096)
    assert text.startswith("FROM ./m-Q8_0.gguf\n")
    for line in ('stop "</s>"', 'stop "a\\"b"', "temperature 0.6", "top_p 0.95", "num_ctx 4096"):
        assert f"PARAMETER {line}\n" in text
    template = text.split('"""')[1]
    assert 'eq .Role "user" }}{{ "</s>\\n<s>user\\n" }}{{ .Content }}' in template
    assert template.endswith('{{ "<s>assistant\\n<think>\\n" }}')
    assert template.startswith("{{- if not .System }}")
    assert template.count("{{- end }}") == 3


def test_text_that_ollamas_language_cannot_hold_is_left_to_the_file() -> None:
    _, turns = taken_apart(TEMPLATE.replace("'<|' + m", "'{' + '{' + m"))
    assert go_template(turns) is None
    assert "TEMPLATE" not in modelfile("x.gguf", turns, [], Sampling(), 10)


def test_lm_studio_gets_sampling_and_stops(tmp_path: Path) -> None:
    preset = json.loads(lm_studio_preset("m", ["</s>"], Sampling(0.6, 0.95)))
    fields = {field["key"]: field["value"] for field in preset["operation"]["fields"]}
    assert fields["llm.prediction.temperature"] == 0.6
    assert fields["llm.prediction.topPSampling"] == {"checked": True, "value": 0.95}
    assert fields["llm.prediction.stopStrings"] == ["</s>"]
