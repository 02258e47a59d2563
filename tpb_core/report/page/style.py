"""The style sheet of pages and pictures. Without `<`, `>` and `&`, so that escaping leaves it as it is and its hash holds."""

PICTURE = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --ground: #ffffff; --band: #f3f5f7; --measure: #e6f0fb;
  --prefill: #d55e00; --decode: #0072b2; --mixed: #cc79a7; --idle: #9aa4ae; --unattributed: #b8860b; --rest: #009e73; --point: #24292f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b3; --line: #3d444d; --ground: #0d1117; --band: #161b22;
  --measure: #14243a; --prefill: #ff8c42; --decode: #58a6ff; --mixed: #e7a1cb; --idle: #6e7781; --unattributed: #e3b341; --rest: #3fb98f;
  --point: #e6edf3; } }
svg { display: block; width: 100%; height: auto; background: var(--ground); font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .soft { fill: var(--soft); } svg .strong { font-weight: 600; }
.grid { stroke: var(--line); stroke-width: 1; fill: none; } .frame { stroke: var(--soft); stroke-width: 1; fill: none; }
.zero { stroke: var(--ink); stroke-width: 1; fill: none; }
.band { fill: var(--band); } .band-measure { fill: var(--measure); }
.point { stroke: var(--point); stroke-width: 2.4; stroke-linecap: round; fill: none; }
.step { stroke: var(--decode); stroke-width: 1.3; fill: none; stroke-linejoin: round; } .step-wash { fill: var(--decode); opacity: 0.16; }
.prefill { fill: var(--prefill); } .decode { fill: var(--decode); } .mixed { fill: var(--mixed); } .idle { fill: var(--idle); }
.unattributed { fill: var(--unattributed); } .rest { fill: var(--rest); } .within { fill: var(--decode); }
.calibration { fill: var(--prefill); }
.wash { opacity: 0.22; } .bar { fill: var(--decode); } .error { stroke: var(--ink); stroke-width: 1.2; fill: none; }
.front { stroke: var(--decode); stroke-width: 1.5; fill: none; stroke-dasharray: 5 3; } .dot { fill: var(--idle); }
.dot-front { fill: var(--decode); } .dot-tie { fill: var(--unattributed); }
.limit { stroke: var(--prefill); stroke-width: 1.2; fill: none; }
"""

PAGE = (
    PICTURE
    + """
* { box-sizing: border-box; } html { background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 1180px; margin: 0 auto; padding: 24px 20px 80px; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 1.15rem; margin: 44px 0 8px; border-bottom: 1px solid var(--line);
  padding-bottom: 4px; } h3 { font-size: 1rem; margin: 24px 0 4px; }
p { margin: 6px 0; } .soft { color: var(--soft); } .small { font-size: 0.86rem; }
.mono { font-family: ui-monospace, monospace; font-size: 0.86rem; }
nav { margin: 14px 0 0; font-size: 0.9rem; } nav a { margin-right: 14px; display: inline-block; } a { color: var(--decode); }
.verdict { display: inline-block; padding: 2px 10px; border-radius: 12px; font-weight: 600; font-size: 0.86rem; margin: 8px 8px 0 0;
  border: 1px solid var(--line); } .good { color: #1a7f37; border-color: #1a7f37; } .bad { color: #cf222e; border-color: #cf222e; }
.warn { color: #9a6700; border-color: #9a6700; } @media (prefers-color-scheme: dark) { .good { color: #3fb950; } .bad { color: #ff7b72; }
  .warn { color: #e3b341; } }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.88rem; margin: 8px 0; }
th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere;
  max-width: 34rem; } th { color: var(--soft); font-weight: 600; white-space: nowrap; } .number { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; } .nowrap { white-space: nowrap; }
.long { display: inline-block; min-width: 15rem; }
figure { margin: 10px 0 18px; } figcaption { color: var(--soft); font-size: 0.86rem; margin-top: 2px; }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin: 0 5px 0 0; vertical-align: -1px; }
.legend span.item { margin-right: 16px; white-space: nowrap; } .legend { font-size: 0.86rem; }
.key.prefill { background: var(--prefill); } .key.decode { background: var(--decode); } .key.mixed { background: var(--mixed); }
.key.idle { background: var(--idle); } .key.unattributed { background: var(--unattributed); } .key.rest { background: var(--rest); }
.key.point { background: var(--point); border-radius: 50%; width: 7px; height: 7px; vertical-align: 1px; }
.key.step { background: none; border-top: 2px solid var(--decode); height: 4px; border-radius: 0; }
.key.within { background: var(--decode); } .key.calibration { background: var(--prefill); }
details { margin: 8px 0; } summary { cursor: pointer; font-weight: 600; } .said { white-space: pre-wrap; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 8px 20px; }
@media (max-width: 720px) { .scroll table { min-width: 660px; } .pair { display: block; } }
@media print { details { display: block; } body { max-width: none; } }
"""
)
