"""Files that let Ollama and LM Studio run a GGUF with the right template, stops and sampling."""

import json
from collections.abc import Sequence
from typing import Any

from distill.types import Sampling
from students.export.turns import Around, Turns

_QUOTES = '"""'


def modelfile(
    gguf: str, turns: Turns | None, stops: Sequence[str], sampling: Sampling, context_tokens: int
) -> str:
    """Ollama's recipe for a model.

    Args:
        gguf: The file's name, beside the Modelfile.
        turns: The chat template taken apart; without it Ollama goes by the one in the file.
        stops: Texts that end a reply.
        sampling: How replies are drawn.
        context_tokens: Prompt and reply together.
    """
    lines = [f"FROM ./{gguf}", ""]
    if turns is None:
        lines += ["# Ollama goes by the chat template in the GGUF file.", ""]
    else:
        if not turns.is_exact:
            lines.append("# In later rounds the model's own chat template differs a little.")
        lines += [f"TEMPLATE {_QUOTES}{go_template(turns)}{_QUOTES}", ""]
    lines += [f'PARAMETER stop "{stop}"' for stop in stops if is_sayable(stop)]
    lines += [f"# {stop!r} cannot be written here" for stop in stops if not is_sayable(stop)]
    lines += [
        f"PARAMETER temperature {sampling.temperature:g}",
        f"PARAMETER top_p {sampling.top_p:g}",
        f"PARAMETER num_ctx {context_tokens}",
        "",
    ]
    return "\n".join(lines)


def is_sayable(text: str) -> bool:
    r"""Whether a Modelfile can hold a text between quotes: it has no escapes for what is inside.

    Example:
        >>> is_sayable('<|end|>'), is_sayable('a" b'), is_sayable("a\nb")
        (True, False, False)
    """
    return text.isprintable() and '"' not in text


def go_template(turns: Turns) -> str:
    """The parts of a chat template in Ollama's language, which is Go's ``text/template``.

    What opens every text is left out: Ollama adds it.
    """
    cases = [("system", turns.system), ("user", turns.user), ("assistant", turns.assistant)]
    branches = [_branch(role, part) for role, part in cases if part is not None]
    chosen = "{{- if " + "{{- else if ".join(branches) + "{{- end }}"
    if turns.forgets:  # only the last turn is read
        chosen = "{{- if eq (len (slice $.Messages $i)) 1 }}" + chosen + "{{- end }}"
    begin = f"{{{{- if not .System }}}}{_text(turns.default_system)}{{{{- end }}}}"
    loop = "{{- range $i, $_ := .Messages }}" + chosen + "{{- end }}"
    return (begin if turns.default_system else "") + loop + _text(turns.reply)


def lm_studio_preset(name: str, stops: Sequence[str], sampling: Sampling) -> str:
    """A preset that LM Studio imports: sampling and stops; the template is in the GGUF file."""
    fields: list[dict[str, Any]] = [
        {"key": "llm.prediction.temperature", "value": sampling.temperature},
        {"key": "llm.prediction.topPSampling", "value": {"checked": True, "value": sampling.top_p}},
        {"key": "llm.prediction.stopStrings", "value": list(stops)},
    ]
    preset = {
        "identifier": f"@local:{name}",
        "name": name,
        "changed": True,
        "operation": {"fields": fields},
        "load": {"fields": []},
    }
    return json.dumps(preset, ensure_ascii=False, indent=2) + "\n"


def how_to_run(name: str, gguf: str) -> str:
    """A README for the folder."""
    return f"""# {name}

One file, `{gguf}`, holds weights, tokenizer and chat template.

- **Ollama**: `ollama create {name.lower()} -f Modelfile`, then `ollama run {name.lower()}`
- **llama.cpp**: `llama-server -m {gguf} --jinja`
- **LM Studio**: put this folder under `models/distill/` of LM Studio's folder
  (`~/.lmstudio/models/distill/{name}/`); `lm-studio.preset.json` has sampling and stops

`export.json` says what was checked after the export.
"""


def _branch(role: str, part: Around) -> str:
    # The dashes of the template's own tags take white space away, so texts go through as strings.
    return f'eq .Role "{role}" }}}}{_text(part.before)}{{{{ .Content }}}}{_text(part.after)}'


def _text(text: str) -> str:
    """A text as a string of Go's; a Modelfile drops what is not printed, so that is escaped."""
    if not text:
        return ""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    shown = (one if one.isprintable() else f"\\U{ord(one):08x}" for one in plain)
    return '{{ "' + "".join(shown) + '" }}'
