"""Whole numbers are compared by their digits, and that says what reading them would say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.verify import equal
from distill.verify.plain import plain

digits = st.text("0123456789", min_size=1, max_size=40) | st.text("01", min_size=1, max_size=600)


@given(digits, digits)
def test_digits_say_what_reading_the_numbers_would_say(gold: str, answer: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equal, "_is_whole_number", lambda text: False)
        slow = equal.compare_answers(gold, answer), equal.answer_key(gold)
    assert (equal.compare_answers(gold, answer), equal.answer_key(gold)) == slow
    assert plain(gold) == gold


@pytest.mark.parametrize("text", ["²", "٣", "一", "", "-3", "1.0", "1,000"])
def test_what_only_looks_like_digits_is_read(text: str) -> None:
    assert not equal._is_whole_number(text)
