"""What Ollama makes of a Modelfile: its grammar, strictly, and its templates by Go itself.

Grammar of Ollama's reference of the Modelfile: an instruction and its value; a value in one or
three double quotes goes on until they close, and nothing in it is escaped; what is not printable
is dropped. The template runs on Go's own ``text/template``.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

INSTRUCTIONS = {"FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE"}
# The parameters of the reference, and what their values are.
PARAMETERS = {
    **dict.fromkeys(("num_ctx", "repeat_last_n", "seed", "num_predict", "top_k"), int),
    **dict.fromkeys(("repeat_penalty", "temperature", "top_p", "min_p"), float),
    "stop": str,
}
_ITEM = re.compile(
    r'(?P<word>[A-Za-z]+)[ \t]+(?P<value>"""(?P<long>.*?)"""|"(?P<short>[^"\n]*)"|[^"\s][^\n]*)\n|'
    r"(?P<rest>#[^\n]*\n|\s+)",
    re.DOTALL,
)
_PARAMETER = re.compile(r'(\w+)[ \t]+(?:"([^"\n]*)"|([^"\s]+))')

needs_go = pytest.mark.skipif(
    shutil.which("go") is None, reason="Ollama's templates are Go's, and go is not installed here"
)
_PROGRAM = """package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type job struct {
	Template string
	Turns    [][2]string
}

type message struct{ Role, Content string }

func main() {
	var jobs []job
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&jobs); err != nil {
		panic(err)
	}
	for _, each := range jobs {
		system, messages := "", []*message{}
		for _, turn := range each.Turns {
			messages = append(messages, &message{turn[0], turn[1]})
			if turn[0] == "system" {
				system = turn[1]
			}
		}
		var text strings.Builder
		parsed := template.Must(template.New("").Option("missingkey=zero").Parse(each.Template))
		values := map[string]any{"System": system, "Messages": messages, "Response": ""}
		if err := parsed.Execute(&text, values); err != nil {
			panic(err)
		}
		texts = append(texts, text.String())
	}
	json.NewEncoder(os.Stdout).Encode(texts)
}
"""


def read_modelfile(text: str) -> list[tuple[str, str]]:
    """Its instructions and values; ``PARAMETER``s under their own names."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        item = _ITEM.match(text, at)
        assert item, f"not an instruction: {text[at : at + 80]!r}"
        at = item.end()
        if item["rest"]:
            continue
        word, value = item["word"], item["value"]
        assert word in INSTRUCTIONS, word
        if word == "PARAMETER":
            parameter = _PARAMETER.fullmatch(text[item.start("value") : item.end("value")])
            assert parameter, value
            name, quoted, plain = parameter.groups()
            PARAMETERS[name](quoted if plain is None else plain)
            found.append((name, _printed(plain if quoted is None else quoted)))
        else:
            long, short = item["long"], item["short"]
            inner = short if short is not None else value
            found.append((word, _printed(long if long is not None else inner)))
    assert [word for word, _ in found].count("FROM") == 1
    return found


def rendered_by_go(
    folder: Path, jobs: Sequence[tuple[str, Sequence[tuple[str, str]]]]
) -> list[str]:
    """Each template with its conversation, rendered as Ollama does."""
    (folder / "main.go").write_text(_PROGRAM)
    given = json.dumps([{"Template": template, "Turns": turns} for template, turns in jobs])
    done = subprocess.run(
        ["go", "run", folder / "main.go"],
        input=given,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    texts: list[str] = json.loads(done.stdout)
    return texts


def _printed(text: str) -> str:
    return "".join(one for one in text if one.isprintable() or one == "\n")
