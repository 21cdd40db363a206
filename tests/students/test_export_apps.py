"""Chat templates taken apart, and what Ollama and LM Studio are told."""

import json
from pathlib import Path

import pytest

from distill.types import Sampling
from students.export.apps import go_template, lm_studio_preset, modelfile
from students.export.turns import ChatTemplate, Turns, take_apart
from students.load import EMBEDDED
from tests.students.conftest import TEMPLATE
from tests.students.ollama import needs_go, read_modelfile, rendered_by_go

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
    text = modelfile("m-Q8_0.gguf", turns, ["</s>", "<\uff5cend\uff5c>"], Sampling(0.6, 0.95), 4096)
    assert text.startswith("FROM ./m-Q8_0.gguf\n")
    read = read_modelfile(text)
    assert read[0] == ("FROM", "./m-Q8_0.gguf")
    assert read[1] == ("TEMPLATE", go_template(turns))
    assert read[2:] == [
        ("stop", "</s>"),
        ("stop", "<\uff5cend\uff5c>"),
        ("temperature", "0.6"),
        ("top_p", "0.95"),
        ("num_ctx", "4096"),
    ]


def test_stop_that_a_modelfile_cannot_hold_is_said_and_left_out() -> None:
    text = modelfile("m.gguf", None, ['a"b', "c\n", "d e"], Sampling(), 10)
    assert [value for name, value in read_modelfile(text) if name == "stop"] == ["d e"]
    assert "# 'a\"b' cannot be written here\n" in text


@needs_go
def test_go_renders_the_modelfiles_template_as_the_chat_template_does(tmp_path: Path) -> None:
    odd = TEMPLATE.replace("'<|' + m", "'{' + '{\\u200b\\t\\\\ \"\"\" }}' + m")
    jobs, expected = [], []
    for name, source in {**TEMPLATES, "odd": odd}.items():
        template, turns = taken_apart(source)
        assert ("\u200b" in turns.user.before + turns.assistant.before) == (name == "odd")
        text = modelfile("m.gguf", turns, [], Sampling(), 10)
        ((_, written),) = [one for one in read_modelfile(text) if one[0] == "TEMPLATE"]
        for conversation in CONVERSATIONS:
            jobs.append((written, conversation))
            expected.append(template.render(conversation).removeprefix(turns.begin))
    assert rendered_by_go(tmp_path, jobs) == expected


def test_lm_studio_gets_sampling_and_stops(tmp_path: Path) -> None:
    preset = json.loads(lm_studio_preset("m", ["</s>"], Sampling(0.6, 0.95)))
    fields = {field["key"]: field["value"] for field in preset["operation"]["fields"]}
    assert fields["llm.prediction.temperature"] == 0.6
    assert fields["llm.prediction.topPSampling"] == {"checked": True, "value": 0.95}
    assert fields["llm.prediction.stopStrings"] == ["</s>"]
