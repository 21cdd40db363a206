"""How a page looks."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c1f24; --soft: #5d6673; --line: #dfe3e8; --paper: #fff;
  --card: #f6f7f9; --pale: #d5dbe4; --kept: #2f7d5b; --fault: #b5483a; --choice: #8a6d1f;
  --other: #5b62a8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa4b2; --line: #30363f;
  --paper: #15181c; --card: #1d2127; --pale: #3a424d; --kept: #4fae84; --fault: #e07b6c;
  --choice: #cfae53; --other: #9aa2ea; } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 32px 20px 80px; }
h1 { font-size: 24px; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 44px 0 6px; }
h3 { font-size: 14px; margin: 20px 0 4px; }
p { margin: 4px 0 12px; }
.soft { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 20px 0; }
.card { background: var(--card); border-radius: 8px; padding: 12px 14px; }
.card b { display: block; font-size: 22px; font-variant-numeric: tabular-nums; }
.plot { overflow-x: auto; }
svg { width: 100%; min-width: 560px; max-width: 800px; height: auto; display: block;
  font: 13px system-ui, sans-serif; }
svg text { fill: var(--ink); dominant-baseline: central; }
svg .label { text-anchor: end; }
svg .note { fill: var(--soft); font-variant-numeric: tabular-nums; }
.whole { fill: var(--pale); } .kept { fill: var(--kept); } .fault { fill: var(--fault); }
.choice { fill: var(--choice); }
.axis { stroke: var(--line); } .curve { fill: none; stroke: var(--kept); stroke-width: 1.8; }
.curve.pale { stroke: var(--pale); stroke-width: 1; } .curve.fault { stroke: var(--fault); }
.whisker { stroke-width: 3; stroke-linecap: round; }
.student { stroke: var(--kept); fill: var(--kept); }
.base { stroke: var(--soft); fill: var(--soft); }
.teacher { stroke: var(--choice); fill: var(--choice); }
.other { stroke: var(--other); fill: var(--other); }
a { color: inherit; } a:focus-visible, summary:focus-visible, [tabindex]:focus-visible {
  outline: 2px solid var(--other); outline-offset: 2px; border-radius: 4px; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 12px 0 0; font-size: 14px; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; }
.sides pre { margin-top: 2px; }
@media (max-width: 640px) { .sides { grid-template-columns: 1fr; } }
@media print { pre { max-height: none; } nav { display: none; } }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin: 0 5px 0 14px; }
.key.whole { background: var(--pale); } .key.kept { background: var(--kept); margin-left: 0; }
.key.fault { background: var(--fault); } .key.choice { background: var(--choice); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); font-size: 13px; }
th:first-child, td:first-child { text-align: left; }
td, tr > th[scope] { white-space: nowrap; }
table.facts { width: auto; min-width: 340px; margin-top: 16px; }
td.what { white-space: normal; text-align: left; color: var(--soft); font-size: 13px; }
tr.idle td { color: var(--soft); }
details { border: 1px solid var(--line); border-radius: 8px; margin: 8px 0; padding: 0 14px; }
summary { cursor: pointer; padding: 9px 0; }
summary .count { color: var(--soft); }
.example { border-top: 1px solid var(--line); padding: 10px 0 14px; }
.reason { color: var(--fault); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); padding: 10px 12px;
  border-radius: 6px; margin: 6px 0; font: 12.5px/1.5 ui-monospace, Menlo, Consolas, monospace;
  max-height: 340px; overflow-y: auto; }
.name { font-size: 12px; color: var(--soft); text-transform: uppercase; letter-spacing: .04em; }
"""
