"""The style sheet of the HTML report: light, dark, paper; every text has a contrast of 4.5 or more."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark;
  --ground: #f6f7f9; --card: #ffffff; --text: #1b2430; --dim: #54606e; --line: #d5dbe3; --accent: #1f4e8c;
  --open: #116636; --open-ground: #e0f4e7; --blocked: #a3161f; --blocked-ground: #fde6e7;
  --degraded: #7a4b00; --degraded-ground: #fdf0d2; --unexplained: #5a3a95; --unexplained-ground: #eee8fa;
  --not_probeable: #4a5563; --not_probeable-ground: #e8ebef; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #12161c; --card: #1b212a; --text: #e8ecf1; --dim: #a5b0bd; --line: #364150; --accent: #8ab8f5;
  --open: #7fdca4; --open-ground: #12321f; --blocked: #ffa3a8; --blocked-ground: #451a1e;
  --degraded: #f5c873; --degraded-ground: #3a2a0b; --unexplained: #cbb5ff; --unexplained-ground: #2c2245;
  --not_probeable: #b9c3cf; --not_probeable-ground: #2a323d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", "Noto Sans", "Hiragino Sans", "Yu Gothic UI", Meiryo,
  "Noto Sans CJK JP", sans-serif; }
header, main, footer { max-width: 84rem; margin: 0 auto; padding: 0 1.5rem; }
header { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline;
  gap: .5rem 2rem; padding-top: 1.2rem; }
footer { padding-bottom: 2rem; color: var(--dim); font-size: .875rem; }
h1 { font-size: 1.1rem; margin: 0; color: var(--dim); font-weight: 600; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .8rem; }
h3 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .4rem 0; }
code { font: .9em/1.4 ui-monospace, "Cascadia Mono", Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
.switch { position: absolute; opacity: 0; width: 1px; height: 1px; }
.languages { display: inline-flex; border: 1px solid var(--line); border-radius: 6px; overflow: hidden; }
.languages label { padding: .15rem .8rem; cursor: pointer; color: var(--dim); background: var(--card); }
#lang-en:checked ~ * .ja, #lang-ja:checked ~ * .en { display: none; }
#lang-en:checked ~ * label[for=lang-en], #lang-ja:checked ~ * label[for=lang-ja] {
  background: var(--accent); color: var(--card); font-weight: 600; }
#lang-en:focus-visible ~ * label[for=lang-en], #lang-ja:focus-visible ~ * label[for=lang-ja] {
  outline: 3px solid var(--text); outline-offset: -3px; }
.headline { margin: 1rem 0 0; padding: 1.1rem 1.4rem; border-radius: 8px; border-left: 8px solid;
  font-size: 1.55rem; font-weight: 700; line-height: 1.3; }
.partial { margin: .8rem 0 0; padding: .7rem 1.4rem; border: 2px solid var(--degraded); border-radius: 8px;
  background: var(--degraded-ground); color: var(--degraded); font-weight: 700; }
.open, .reachable { color: var(--open); background: var(--open-ground); }
.blocked { color: var(--blocked); background: var(--blocked-ground); }
.degraded { color: var(--degraded); background: var(--degraded-ground); }
.unclear, .unexplained { color: var(--unexplained); background: var(--unexplained-ground); }
.not_probeable { color: var(--not_probeable); background: var(--not_probeable-ground); }
.counts { display: flex; flex-wrap: wrap; gap: .6rem; margin: .8rem 0; padding: 0; list-style: none; }
.counts li { padding: .4rem 1rem; border-radius: 8px; min-width: 7.5rem; }
.counts li.none { background: none; color: var(--dim); outline: 1px solid var(--line); outline-offset: -1px; }
.counts b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.bar { display: block; width: 100%; height: 12px; border-radius: 6px; }
.bar .reachable { fill: var(--open); } .bar .blocked { fill: var(--blocked); }
.bar .degraded { fill: var(--degraded); } .bar .unexplained { fill: var(--unexplained); }
.bar .not_probeable { fill: var(--not_probeable); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; margin: 1rem 0 0; }
.facts dt { color: var(--dim); } .facts dd { margin: 0; overflow-wrap: anywhere; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: 0 0 1rem;
  padding: .9rem 1.2rem; }
.card > h3 { display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: baseline; margin-bottom: .5rem; }
.tag { display: inline-block; padding: .05rem .55rem; border-radius: 5px; font-size: .94em; font-weight: 600;
  white-space: nowrap; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 3px solid var(--accent); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
caption { text-align: left; color: var(--dim); padding: 0 0 .4rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .6rem; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--dim); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 400; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.rules { table-layout: fixed; min-width: 60rem; }
.rules th:nth-child(1) { width: 14%; } .rules th:nth-child(2) { width: 25%; }
.rules th:nth-child(3) { width: 9%; } .rules th:nth-child(4) { width: 23%; }
td { overflow-wrap: anywhere; }
td.word, td .tag { overflow-wrap: normal; }
.dim { color: var(--dim); font-size: .94em; }
details summary { cursor: pointer; color: var(--accent); }
details ul { margin: .3rem 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
@media print { :root { color-scheme: light; --ground: #fff; --card: #fff; --text: #000; --dim: #444;
    --line: #bbb; --accent: #1f4e8c; --open: #0b5229; --open-ground: #e0f4e7;
    --blocked: #8f0f18; --blocked-ground: #fde6e7;
    --degraded: #694000; --degraded-ground: #fdf0d2; --unexplained: #4b2f80; --unexplained-ground: #eee8fa;
    --not_probeable: #3c4652; --not_probeable-ground: #e8ebef; }
  @page { size: A4 landscape; margin: 12mm; }
  body { font-size: 10.5pt; } table { font-size: 8.5pt; }
  header, main, footer { max-width: none; padding: 0; }
  .languages { display: none; } .scroll { overflow: visible; }
  .headline, .partial, .tag, .counts li, .bar {
    -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  tr, .headline, .counts { break-inside: avoid; } thead { display: table-header-group; }
  h2, h3 { break-after: avoid; } .card { border: 0; padding: 0; } .rules { min-width: 0; }
  .rules details::details-content { content-visibility: visible; block-size: auto; }
  summary { display: none; } }
"""

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
"""Content security policy: this style sheet and nothing else; a text that got through can do nothing."""
