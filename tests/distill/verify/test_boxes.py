"""Boxes are found with balanced braces, whatever stands around them."""

import pytest

from distill.verify.boxes import Boxes, find_boxes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no box", Boxes(())),
        (r"\boxed{14}", Boxes(("14",))),
        (r"\boxed {14}", Boxes(("14",))),
        (r"\boxed{}", Boxes(("",))),
        (r"\boxed{1} and \boxed{2}", Boxes(("1", "2"))),
        (r"\boxed{\frac{1}{2}}", Boxes((r"\frac{1}{2}",))),
        (r"\boxed{\boxed{3}}", Boxes((r"\boxed{3}",))),
        (r"\boxed{\{1, 2\}}", Boxes((r"\{1, 2\}",))),
        (r"\boxed{\}", Boxes((), is_cut=True)),
        (r"\boxed{1} then \boxed{2", Boxes(("1",), is_cut=True)),
        (r"boxed{14}", Boxes(())),
        (r"\boxed 14", Boxes(())),
    ],
)
def test_boxes_are_found(text: str, expected: Boxes) -> None:
    assert find_boxes(text) == expected
