"""What is sent to endpoints that no test can reach: exact path, query, headers and body.

A server of our own answers in their recorded shapes, and refuses every other path or key header.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.conftest import invoke_in
from tests.conftest import RunDistill
from tests.servers.answers import sum_prompt
from tests.servers.forms import REASONING, TEXT, azure_models, azure_v1, deepseek, openrouter
from tests.servers.recipes import stored_traces, write_recipe, write_sums
from tests.servers.recorder import Form, recording

KEY = "sk-canary-5f1e8b"
MESSAGES = [{"role": "user", "content": sum_prompt(0)[0]}]
SAMPLING = {"temperature": 0.6, "top_p": 0.95}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


@dataclass(frozen=True, slots=True)
class Case:
    """One endpoint as a recipe names it.

    Attributes:
        endpoint: Its name in the catalogue.
        form: How it is spoken to.
        base_path: Of its base URL.
        variable: Environment variable of the key.
        model: What it is asked for.
        lines: Further lines of the recipe's teacher.
        body: What the body holds beside model, messages and ``max_tokens``.
    """

    endpoint: str
    form: Form
    base_path: str
    variable: str
    model: str
    lines: tuple[str, ...] = ()
    body: Mapping[str, object] = field(default_factory=dict)


CASES = {
    "deepseek": Case("deepseek", deepseek(), "/v1", "DEEPSEEK_API_KEY", "deepseek-flash"),
    "deepseek-high": Case(
        "deepseek",
        deepseek(),
        "/v1",
        "DEEPSEEK_API_KEY",
        "deepseek-v4-pro",
        ("thinking = true", 'reasoning_effort = "high"'),
        {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
    ),
    "deepseek-off": Case(
        "deepseek",
        deepseek(),
        "/v1",
        "DEEPSEEK_API_KEY",
        "deepseek-flash",
        ("thinking = false",),
        {"thinking": {"type": "disabled"}, **SAMPLING},
    ),
    "azure": Case(
        "azure", azure_v1(), "/openai/v1", "AZURE_API_KEY", "my-deployment", body=SAMPLING
    ),
    "azure-models": Case(
        "azure-models", azure_models(), "/models", "AZURE_API_KEY", "DeepSeek-R1", body=SAMPLING
    ),
    "openrouter": Case(
        "openrouter",
        openrouter(),
        "/api/v1",
        "OPENROUTER_API_KEY",
        "deepseek/deepseek-v4-pro",
        ("thinking = true",),
        {"reasoning": {"enabled": True}, **SAMPLING},
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["body", "stream"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_endpoint_is_asked_exactly_as_it_documents(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: Case, stream: bool
) -> None:
    write_sums(tmp_path / "prompts.jsonl", 1)
    with recording(case.form, KEY) as recorder:
        recipe = write_recipe(
            tmp_path,
            base_url=recorder.url + case.base_path,
            teacher=[
                f'endpoint = "{case.endpoint}"',
                f'model = "{case.model}"',
                f"stream = {str(stream).lower()}",
                *case.lines,
            ],
        )
        monkeypatch.setenv(case.variable, KEY)
        shown = invoke_in(tmp_path, "generate", recipe, "--run-dir", "run", "--json")
    assert shown.code == 0, shown.err
    (asked,) = recorder.asked
    assert asked.path == case.form.path
    name, opening = case.form.key_header
    assert {each for each, value in asked.headers.items() if KEY in value} == {name}
    assert asked.headers[name] == opening + KEY
    assert asked.headers["content-type"] == "application/json"
    assert asked.body == {
        "model": case.model,
        "messages": MESSAGES,
        "max_tokens": 4096,
        **case.body,
        **(STREAMED if stream else {}),
    }
    (record,) = stored_traces(tmp_path / "run").records
    completion = record["trace"]["completion"]
    assert (completion["reasoning"], completion["text"]) == (REASONING, TEXT)
    assert record["verdict"]["is_accepted"] is True
    assert completion["usage"]["output_tokens"] == 30
    no_key_in([shown.out, shown.err], tmp_path)


def no_key_in(texts: list[str], folder: Path) -> None:
    """The key is neither in what was printed nor in any file."""
    assert not [text for text in texts if KEY in text]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize("stream", [False, True], ids=["body", "stream"])
def test_deepseek_counts_reasoning_and_cached_tokens_and_has_a_price(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stream: bool
) -> None:
    write_sums(tmp_path / "prompts.jsonl", 1)
    with recording(deepseek(), KEY) as recorder:
        recipe = write_recipe(
            tmp_path,
            base_url=f"{recorder.url}/v1",
            teacher=[
                'endpoint = "deepseek"',
                'model = "deepseek-flash"',
                f"stream = {str(stream).lower()}",
            ],
        )
        monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
        shown = invoke_in(tmp_path, "generate", recipe, "--run-dir", "run", "--json")
    stage = json.loads(shown.out)["stages"]["generate"]
    assert stage["usage"] == {
        "input_tokens": 16,
        "output_tokens": 30,
        "reasoning_tokens": 20,
        "cached_tokens": 8,
    }
    off_peak = (8 * 0.003 + 8 * 0.15 + 30 * 0.60) / 1e6
    assert stage["usd"] in (pytest.approx(off_peak), pytest.approx(2 * off_peak))


def test_a_key_that_is_refused_is_named_by_its_variable_and_never_shown(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    write_sums(tmp_path / "prompts.jsonl", 1)
    with recording(azure_v1(), "another") as recorder:
        recipe = write_recipe(
            tmp_path,
            base_url=f"{recorder.url}/openai/v1",
            teacher=['endpoint = "azure"', 'model = "my-deployment"'],
        )
        command, env = ["generate", str(recipe), "--run-dir", "run"], {"AZURE_API_KEY": KEY}
        shown = run_distill(*command, env=env)
        debugged = run_distill("--debug", *command, env=env)
    assert shown.returncode == 9
    assert "401: Access denied" in shown.stderr
    assert "AZURE_API_KEY" in shown.stderr
    assert "Traceback" in debugged.stderr
    no_key_in([shown.stdout, shown.stderr, debugged.stdout, debugged.stderr], tmp_path)


def test_a_missing_key_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_sums(tmp_path / "prompts.jsonl", 1)
    monkeypatch.delenv("AZURE_API_KEY", raising=False)
    with recording(azure_v1(), KEY) as recorder:
        recipe = write_recipe(
            tmp_path,
            base_url=f"{recorder.url}/openai/v1",
            teacher=['endpoint = "azure"', 'model = "my-deployment"'],
        )
        shown = invoke_in(tmp_path, "generate", recipe)
    assert shown.code == 9
    assert "AZURE_API_KEY" in shown.err
    assert recorder.asked == []
