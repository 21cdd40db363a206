"""Parts of the HTML pages about a run: the document around them, their style, plots as SVG.

A page is one file that fetches nothing and runs nothing. This package knows no runs.
"""
