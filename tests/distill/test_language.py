"""Sentences in another language are found, and own traces are never called mixed."""

import random
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from distill.language import (
    check_language,
    foreign_sentences,
    language_of,
    prompt_languages,
)

FIRST_CLASS = ["en", "de", "es", "fr", "zh", "ja", "ko", "ru"]
PROMPTS = {
    "en": "How many primes are below 30?",
    "de": "Wie viele Primzahlen gibt es unter 30?",
    "es": "¿Cuántos números primos hay menores que 30?",
    "fr": "Combien y a-t-il de nombres premiers inférieurs à 30 ?",
    "zh": "小于30的质数有多少个\uff1f",
    "ja": "30より小さい素数はいくつありますか。",
    "ko": "30보다 작은 소수는 몇 개인가?",
    "ru": "Сколько простых чисел меньше 30?",
}
# Never used while the word lists were written: what one sentence of each language is found by.
HELD_OUT = {
    "en": [
        "I think we should look at the problem from a different angle here.",
        "This would mean that the second train arrives before the first one leaves.",
        "Clearly none of these options can work unless we also change the order.",
        "What happens when both players choose the same card?",
        "She must have spent half of her money on books by then.",
        "It seems that our earlier assumption was wrong.",
        "Notice how the pattern repeats after every four terms.",
        "There is no way to colour the map with only three colours.",
    ],
    "de": [
        "Ich glaube, wir sollten die Aufgabe von einer anderen Seite betrachten.",
        "Das würde bedeuten, dass der zweite Zug vor dem ersten ankommt.",
        "Offenbar kann keine dieser Möglichkeiten funktionieren.",
        "Was passiert, wenn beide Spieler die gleiche Karte wählen?",
        "Bis dahin muss sie die Hälfte ihres Geldes für Bücher ausgegeben haben.",
        "Unsere frühere Annahme war offenbar nicht haltbar.",
        "Man sieht, dass sich das Muster nach je vier Gliedern wiederholt.",
        "Mit nur drei Farben lässt sich die Karte nicht einfärben.",
    ],
    "es": [
        "Creo que deberíamos mirar el problema desde otro punto de vista.",
        "Eso querría decir que el segundo tren llega antes que el primero.",
        "Está claro que ninguna de estas opciones puede funcionar.",
        "¿Qué pasa cuando los dos jugadores eligen la misma carta?",
        "Para entonces ella ya habrá gastado la mitad de su dinero en libros.",
        "Parece que nuestra suposición anterior era incorrecta.",
        "Se ve que el patrón se repite cada cuatro términos.",
        "No se puede colorear el mapa con solo tres colores.",
    ],
    "fr": [
        "Je pense que nous devrions regarder le problème sous un autre angle.",
        "Cela voudrait dire que le second train arrive avant le premier.",
        "Il est clair qu'aucune de ces options ne peut marcher.",
        "Que se passe-t-il quand les deux joueurs choisissent la même carte ?",
        "Elle a dû dépenser la moitié de son argent pour des livres.",
        "Il semble que notre hypothèse de départ était fausse.",
        "On voit que le motif se répète tous les quatre termes.",
        "On ne peut pas colorier la carte avec seulement trois couleurs.",
    ],
    "zh": ["我觉得应该换一个角度来看这个问题。", "如果两个人选了同一张牌会怎么样呢\uff1f"],
    "ja": ["別の角度からこの問題を見るべきだと思います。", "二人が同じ札を選んだらどうなるか。"],
    "ko": [
        "다른 관점에서 이 문제를 보아야 한다고 생각한다.",
        "두 사람이 같은 카드를 고르면 어떻게 될까?",
    ],
    "ru": [
        "Думаю, на задачу нужно взглянуть иначе.",
        "Что будет, если игроки выберут одну карту?",
    ],
}


@pytest.fixture(scope="module")
def made(repository: Path) -> SimpleNamespace:
    """The texts of the benchmarks."""
    return SimpleNamespace(**runpy.run_path(str(repository / "benchmarks" / "reasoning_texts.py")))


@pytest.mark.parametrize("language", FIRST_CLASS)
def test_own_traces_are_never_mixed(made: SimpleNamespace, language: str) -> None:
    rng = random.Random(7)
    for number in range(40):
        prompt, text = made.prompt(language, rng), made.trace(language, rng, 500 + 100 * number)
        check = check_language(text, prompt)
        assert (check.value, check.ok) == (0, True), check.reason


@pytest.mark.parametrize("language", FIRST_CLASS)
@pytest.mark.parametrize("foreign", FIRST_CLASS)
def test_one_held_out_sentence_is_found(made: SimpleNamespace, language: str, foreign: str) -> None:
    if language == foreign:
        return
    around = made.trace(language, random.Random(1), 2000)
    found = [
        bool(foreign_sentences(f"{around}\n{one}\n{around}", frozenset({language})))
        for one in HELD_OUT[foreign]
    ]
    assert sum(found) >= 0.75 * len(found), [
        one for one, is_found in zip(HELD_OUT[foreign], found, strict=True) if not is_found
    ]


@pytest.mark.parametrize("language", FIRST_CLASS)
def test_held_out_sentences_are_not_foreign_to_their_own_language(language: str) -> None:
    assert foreign_sentences("\n".join(HELD_OUT[language]), frozenset({language})) == []
    assert check_language("\n".join(HELD_OUT[language]), PROMPTS[language]).value == 0


@pytest.mark.parametrize("language", FIRST_CLASS)
def test_prompts_are_told_apart(language: str) -> None:
    assert language_of(PROMPTS[language]) == language
    assert prompt_languages(PROMPTS[language]) == {language}


@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("foreign", FIRST_CLASS[1:])
def test_a_small_admixture_fails_an_english_trace(
    made: SimpleNamespace, foreign: str, share: float
) -> None:
    rng = random.Random(3)
    for _ in range(10):
        text, _ = made.mixed("en", foreign, share, rng)
        check = check_language(text, PROMPTS["en"])
        assert not check.ok
        assert 0.25 * share < check.value < 3 * share


def test_the_reason_names_language_and_sentence() -> None:
    text = "First we add the two.\nDas ist aber nicht richtig, denn 7 ist ungerade.\nSo it is 8."
    check = check_language(text, PROMPTS["en"])
    assert not check.ok
    assert check.reason.endswith("in German: 'Das ist aber nicht richtig, denn 7 ist ungerade'")


def test_a_trace_in_another_language_than_the_prompt_fails(made: SimpleNamespace) -> None:
    rng = random.Random(0)
    for language in FIRST_CLASS:
        for prompt in set(FIRST_CLASS) - {language}:
            check = check_language(made.trace(language, rng, 2000), PROMPTS[prompt])
            assert not check.ok
            assert check.value > 0.1


@pytest.mark.parametrize(
    "text",
    [
        "The theorem of de la Vallée Poussin is about primes.",
        "Charles-Jean de la Vallée Poussin",
        "El Camino de Santiago de la Costa",
        "We sum sin x and cos y, et cetera.",
        r"$\sin x + \cos y + \text{mit } \max \min \cot \sec$",
        "The die was cast; the man hat no war. So, also, an art.",
        "In German 'the' is 'der', 'die' or 'das', which is odd.",
        "Let 中 be the center and ℵ₀ the cardinal of א or Ш.",
        "\u03b1 + β = \u03b3, so λ ≤ μ.",
        "```python\nprint('das ist nicht richtig')\n```",
        "`la suma de los números es` is the key of the dictionary.",
        "",
        "   \n ",
        "\ud800",
    ],
)
def test_names_formulas_code_and_words_quoted_are_not_foreign(text: str) -> None:
    assert check_language(text, PROMPTS["en"]).value == 0


@pytest.mark.parametrize(
    "text",
    [
        "由 Cauchy-Schwarz 不等式和 AM-GM 可得结论。",
        "设 if x not in seen and y is in range then z 为真。",
        "书名是 The Art of Computer Programming 第三卷。",
        "令 f(x) = a x + b, 其中 a, b, c, d 为常数。",
        r"$\begin{cases} x & \text{if } x > 0 \\ -x & \text{otherwise} \end{cases}$ 是绝对值。",
        "```python\n# the sum of all the numbers is the answer\nprint(1)\n```\n这是答案。",
    ],
)
def test_latin_letters_within_chinese_are_not_foreign(text: str) -> None:
    assert check_language(text, PROMPTS["zh"]).value == 0


def test_a_word_slipped_in_is_found() -> None:
    slips = {
        "en": [
            "So the 答案 is 4.",
            "Then we get, なので it holds.",
            "It is 4, следовательно done.",
        ],
        "zh": ["所以答案は4です。", "그러므로 答案是四。", "So the answer is 4, 对吧\uff1f"],
        "ko": ["따라서 答案은 4이다.", "したがって 4이다.", "So the answer is 4 이다."],
        "ja": ["所以答案是四。", "그러므로 4 です。", "So the answer is 4 です。"],
        "ru": ["Значит, 答案 равно 4.", "So the answer is 4, верно."],
    }
    for language, texts in slips.items():
        for text in texts:
            assert foreign_sentences(text, frozenset({language})), (language, text)


def test_a_hanja_gloss_is_korean() -> None:
    assert foreign_sentences("함수(函數) f는 증가한다.", frozenset({"ko"})) == []


def test_languages_of_the_prompt_are_all_allowed() -> None:
    prompt = "Translate into English and say how many words it has:\nDas Haus ist nicht sehr groß."
    assert prompt_languages(prompt) == {"en", "de"}
    text = "The sentence is: Das Haus ist nicht sehr groß.\nIt has six words."
    assert check_language(text, prompt).ok
    assert not check_language(text, prompt, target="en").ok


def test_a_prompt_without_words_allows_the_language_of_the_trace(made: SimpleNamespace) -> None:
    rng = random.Random(5)
    assert prompt_languages("$2x + 3 = 7$") == frozenset()
    for language in FIRST_CLASS:
        assert check_language(made.trace(language, rng, 2000), "$2x + 3 = 7$").ok
    mixed, _ = made.mixed("fr", "en", 0.1, rng)
    assert not check_language(mixed, "$2x + 3 = 7$").ok


def test_a_looser_threshold_lets_a_sentence_pass() -> None:
    text = "We add the two numbers first. " * 10 + "\nDas ist aber nicht richtig."
    assert not check_language(text, PROMPTS["en"]).ok
    check = check_language(text, PROMPTS["en"], threshold=0.2)
    assert check.ok
    assert 0 < check.value < 0.2
    assert check.reason == ""
