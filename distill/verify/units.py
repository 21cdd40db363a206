"""Units after a number: ``5 km`` and ``5000 m`` are one length, ``5 km`` and ``5 m`` are not.

A unit has a dimension and a size in it. Words that are no unit, such as ``apples``, are a dimension
of their own, so that ``3 apples`` and ``3 pears`` differ.
"""
# ruff: noqa: RUF001, E501 - letters of other alphabets; a table

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts.

    Attributes:
        dimension: Units of one dimension can be compared.
        size: How many of the dimension's base unit it is.
        is_word: Whether it is some word and no unit of measurement.
    """

    dimension: str
    size: Fraction = Fraction(1)
    is_word: bool = False


PERCENT = Unit("percent", Fraction(1, 100))
_TABLE = r"""
length 1/1000 mm millimeter millimetre 毫米 мм миллиметр milímetro millimètre 밀리미터 ミリメートル
length 1/100 cm centimeter centimetre 厘米 公分 см сантиметр centímetro centimètre zentimeter 센티미터 センチメートル センチ
length 1/10 dm decimeter decimetre 分米 дециметр
length 1 m meter metre 米 м метр metro mètre 미터 メートル
length 1000 km kilometer kilometre 千米 公里 км километр kilómetro kilomètre 킬로미터 キロメートル キロ
length 127/5000 inch inche in дюйм 英寸 인치 インチ
length 381/1250 foot feet ft 英尺 피트 フィート
length 1143/1250 yard yd 码
length 201168/125 mile mi миля 英里 마일 マイル
mass 1/1000000 mg milligram 毫克
mass 1/1000 g gram gramme 克 г грамм gramo 그램 グラム
mass 1 kg kilogram kilo 千克 公斤 кг килограмм kilogramo kilogramme kilogramm 킬로그램 キログラム
mass 1000 t ton tonne 吨 т тонна tonelada 톤 トン
mass 45359237/100000000 lb pound-mass lbs 磅
mass 45359237/1600000000 oz ounce
time 1/1000 ms millisecond 毫秒
time 1 s sec second 秒 с секунда segundo seconde sekunde 초
time 60 min minute 分钟 分 мин минута minuto 분
time 3600 h hr hour 小时 時間 ч час hora heure stunde 시간
time 86400 day 天 日 день día jour tag 일
time 604800 week 周 星期 неделя semana semaine woche 주
time 31557600 year yr 年 год año jahr 년 岁 歳 세
volume 1/1000 ml milliliter millilitre mL 毫升 мл
volume 1 l liter litre L 升 л литр litro 리터 リットル
volume 473176473/125000000 gallon gal 加仑
volume 473176473/500000000 quart qt
angle 1 ° degree deg 度 градус grado degré grad 도
angle@rad 1 rad radian 弧度
money$ 1 \$ $ dollar usd 美元 доллар dólar 달러 ドル
money$ 1/100 cent ¢ 美分
money€ 1 € euro eur евро 欧元 유로 ユーロ
money£ 1 £ pound gbp 英镑
money¥ 1 ¥ yuan cny rmb 元 人民币 юань
money円 1 yen jpy 円 日元
money₩ 1 ₩ won krw 원 韩元
money₽ 1 ₽ ruble rouble rub рубль руб 루블
money₹ 1 ₹ rupee inr 卢比
percent 1/100 % percent percentage pct prozent процент porcentaje pourcent 퍼센트 パーセント
temperature°C 1 °C celsius
temperature°F 1 °F fahrenheit
speed 1 m/s mps
speed 5/18 km/h kph kmh
speed 1397/3125 mph
force 1 N newton ньютон
energy 1 J joule джоуль
energy 1000 kJ kilojoule
power 1 W watt ватт
power 1000 kW kilowatt
voltage 1 V volt вольт
current 1 A ampere amp
frequency 1 Hz hertz
pressure 1 Pa pascal
amount 1 mol mole
data 1 byte
data@bit 1 bit
"""


def _read_table() -> dict[str, Unit]:
    units = {}
    for line in _TABLE.strip().splitlines():
        dimension, size, *names = line.split()
        unit = Unit(dimension, Fraction(size))
        units.update(dict.fromkeys(names, unit))
    units["per cent"] = PERCENT
    return units


_UNITS = _read_table()
_POWERS = {
    "square": 2,
    "sq": 2,
    "cubic": 3,
    "cu": 3,
    "平方": 2,
    "立方": 3,
    "кв": 2,
    "куб": 3,
    "제곱": 2,
}
_POWER_PREFIX = re.compile(rf"({'|'.join(_POWERS)})\.?\s*(.+)")
_POWER_SUFFIX = re.compile(r"(.+?)\s*\^\{?([23])\}?|(.+?)\s*(squared|cubed)")
_PER = re.compile(r"\s*/\s*|\s+per\s+|\s+an?\s+(?=hour|second|minute|day)")
_ENDINGS = ("s", "es", "en", "n", "e", "a", "x", "ов", "а", "ы", "и", "ей", "ями", "ies", ".")


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit:
    """The unit that some words name; words that name none are their own dimension.

    Example:
        >>> read_unit("square meters") == read_unit("m^2"), read_unit("km/h").size
        (True, Fraction(5, 18))
        >>> read_unit("apples") == read_unit("apple")
        True
    """
    text = " ".join(text.split()).strip()
    return _named(text) or _derived(text) or Unit(_stem(text.casefold()), is_word=True)


def _named(text: str) -> Unit | None:
    if text in _UNITS:
        return _UNITS[text]
    lower = text.casefold()
    for ending in ("", *_ENDINGS):
        stem = lower.removesuffix(ending)
        # A single letter is a unit as it stands only: "N" is newton, "Ns" is not.
        if stem in _UNITS and (len(lower) > 1 or not lower.isascii()):
            return _UNITS[stem]
    return None


def _derived(text: str) -> Unit | None:
    if match := _POWER_PREFIX.fullmatch(text.casefold()):
        return _raised(_named(match[2]), _POWERS[match[1]])
    above, *below = _PER.split(text, maxsplit=1)
    if below:
        first, second = read_unit(above), read_unit(below[0])
        if first.is_word or second.is_word:
            return None
        if (first.dimension, second.dimension) == ("length", "time"):
            return Unit("speed", first.size / second.size)
        return Unit(f"{first.dimension}/{second.dimension}", first.size / second.size)
    if match := _POWER_SUFFIX.fullmatch(text):
        power = int(match[2]) if match[2] else {"squared": 2, "cubed": 3}[match[4]]
        return _raised(_named(match[1] or match[3]), power)
    return None


def _raised(unit: Unit | None, power: int) -> Unit | None:
    if unit is None:
        return None
    if unit.dimension == "length" and power == 3:  # noqa: PLR2004 - a litre is a volume as well
        return Unit("volume", unit.size**3 * 1000)
    return Unit(f"{unit.dimension}^{power}", unit.size**power)


def _stem(word: str) -> str:
    if word.isascii() and len(word) > 3 and word.endswith("s") and not word.endswith("ss"):  # noqa: PLR2004
        return word[:-3] + "y" if word.endswith("ies") else word[:-1]
    return word


_WORD = re.compile(r"[^\W\d_]{2,}|[%€£¥₩₽₹°]")
_DOLLARS = re.compile(r"\\\$|(?<!\S)\$\d[\d,.]*(?=[\s;:?!)]|$)")
_CJK = [name for name in _UNITS if len(name) > 1 and name[0] > "\u2e80"]


def is_named_in(unit: Unit, text: str) -> bool:
    """Whether a text, such as a prompt, says what is counted.

    Example:
        >>> is_named_in(read_unit("$"), "How many dollars are left?")
        True
        >>> is_named_in(read_unit("km"), "How many dollars are left?")
        False
    """
    words = _WORD.findall(text)
    if unit.is_word:
        stems = {_stem(word.casefold()) for word in words}
        return all(word in stems for word in unit.dimension.split())
    if unit.dimension == "angle" and r"\circ" in text:
        return True
    if unit.dimension == "money$" and _DOLLARS.search(text):
        return True
    pairs = [f"{first} {second}" for first, second in pairwise(words)]
    found = [*map(read_unit, [*words, *pairs]), *(_UNITS[name] for name in _CJK if name in text)]
    return any(_is_close(one, unit) for one in found if not one.is_word)


def _is_close(found: Unit, unit: Unit) -> bool:
    """The very unit, or what it is made of: ``cm`` for ``cm^2``."""
    base = unit.dimension.partition("^")[0]
    return found == unit or (base != unit.dimension and found.dimension == base)
