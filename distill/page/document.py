"""The document around a page's text, and figures as text."""

from collections.abc import Iterable
from html import escape
from typing import Final

from distill.page.style import STYLE

# Nothing is fetched and nothing runs, even if a trace should find a way through the escaping.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def document(title: str, body: Iterable[str]) -> str:
    """A whole page as one HTML document that needs nothing else.

    Args:
        title: Plain text.
        body: Markup, in order.
    """
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style></head><body><main>",
            *body,
            "</main></body></html>\n",
        ]
    )


def svg(content: str, width: int, height: int, title: str) -> str:
    """A plot that shrinks with the page, and scrolls where it would get too small to read.

    Args:
        content: Markup.
        width: In the units of the content.
        height: The same.
        title: What is plotted, for those who hear the page.
    """
    return (
        f'<div class="plot"><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{content}</svg></div>'
    )


def card(name: str, figure: str, note: str = "") -> str:
    """A figure that stands out.

    Args:
        name: What it is; plain text, as the others.
        figure: Large.
        note: Below it.
    """
    soft = f'<span class="soft">{escape(note)}</span>' if note else ""
    return f'<div class="card">{escape(name)}<b>{escape(figure)}</b>{soft}</div>'


def share_text(part: float, of: float) -> str:
    """A share in percent, with a digit more where it is next to nothing or everything.

    Example:
        >>> share_text(1, 3), share_text(1, 200), share_text(0, 0)
        ('33 %', '0.5 %', '0 %')
    """
    if not of:
        return "0 %"
    share = 100 * part / of
    return f"{share:.1f} %" if 0 < share < 1 or 99 < share < 100 else f"{share:.0f} %"  # noqa: PLR2004 - percent
