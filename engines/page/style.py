"""The report's style sheet: one page that reads in light and dark, on paper and on a phone."""

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1b1f24; --soft: #5c6570; --line: #d9dee4;
  --ok: #1a7f4b; --bad: #c62f37; --warn: #a15c00; --ok-tint: #e3f4ea; --bad-tint: #fbe6e7; --warn-tint: #fdf0db;
  --good-dot: #3a7bd5; --bad-dot: #e07b00; --s0: #8ab4f8; --s1: #c9ced6; --s2: #6fc3a5; --s3: #3a7bd5; --s4: #e0a24a;
  --s5: #9b8bd0; }
@media (prefers-color-scheme: dark) { :root { --page: #111418; --card: #1a1f25; --ink: #e6e9ed; --soft: #9aa4b0;
  --line: #303740; --ok: #4cc38a; --bad: #ff6b70; --warn: #f0b24c; --ok-tint: #143326; --bad-tint: #3d1a1d;
  --warn-tint: #3a2b10; --good-dot: #6ea8ff; --bad-dot: #ffa23f; --s0: #5482c4; --s1: #58616d; --s2: #3f8f74;
  --s3: #4c86d8; --s4: #b9812f; --s5: #7768ad; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 38px 0 10px; } h3 { font-size: 15px; margin: 22px 0 8px; }
p { margin: 6px 0; max-width: 80ch; }
.soft { color: var(--soft); }
code { font: 13px ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.banner { border-left: 4px solid var(--warn); background: var(--warn-tint); padding: 10px 14px; border-radius: 4px;
  margin: 16px 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 20px 0 8px; }
.tile, .panel, .part { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tile { padding: 12px 14px; }
.tile b { display: block; font-size: 25px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.tile.ok b { color: var(--ok); } .tile.bad b { color: var(--bad); }
.panel { padding: 14px 16px; overflow-x: auto; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 14px; align-items: start; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td, tr:last-child th { border-bottom: 0; }
th { color: var(--soft); font-weight: 500; } td.n, th.n { text-align: right; }
.chart { display: block; width: 100%; min-width: 560px; height: auto; }
.chart text, .legend text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: var(--soft); }
.chart .lane { fill: var(--ink); font-size: 13px; } .chart .in-bar { fill: #fff; font-weight: 600; }
.rule { stroke: var(--line); } .reject { fill: var(--bad); opacity: 0.07; }
.review { fill: var(--warn); opacity: 0.16; } .whisker { stroke: var(--bad); stroke-width: 4; opacity: 0.55; }
.curve { fill: none; stroke: var(--good-dot); stroke-width: 2; stroke-linejoin: round; }
.bar.good { fill: var(--good-dot); } .bar.defective { fill: var(--bad-dot); }
.limit { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 5 4; }
.chart .limit-label { fill: var(--bad); font-weight: 600; }
.dot { stroke: var(--card); stroke-width: 1; } .dot.good { fill: var(--good-dot); }
.dot.defective { fill: var(--bad-dot); } .dot.wrong { stroke: var(--ink); stroke-width: 2.5; }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--s3); }
.s4 { fill: var(--s4); } .s5 { fill: var(--s5); }
.legend { width: 360px; max-width: 100%; height: auto; } .swatch { fill: #777; }
.key { display: flex; flex-wrap: wrap; gap: 6px 26px; align-items: center; }
.key i { display: inline-block; width: 22px; height: 0; border-top: 2px solid; vertical-align: middle;
  margin-right: 7px; }
.key .truth { border-color: #00c4d6; } .key .found { border-color: #fff; box-shadow: 0 0 0 1.5px #555; }
.parts { display: grid; grid-template-columns: repeat(auto-fill, minmax(430px, 1fr)); gap: 14px; }
@media (max-width: 480px) { .parts { grid-template-columns: 1fr; } }
.part { overflow: hidden; scroll-margin-top: 12px; } .part.wrong { border: 2px solid var(--bad); }
.part:target { outline: 3px solid var(--good-dot); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; background: var(--line); }
.pair img { display: block; width: 100%; height: auto; }
.even img { aspect-ratio: 1; object-fit: contain; background: var(--page); }
.about { padding: 9px 12px 11px; }
.line { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: 2px 10px; }
.badge { border-radius: 99px; padding: 1px 10px; font-weight: 600; font-size: 13px; }
.badge.ok { color: var(--ok); background: var(--ok-tint); } .badge.bad { color: var(--bad);
  background: var(--bad-tint); } .badge.warn { color: var(--warn); background: var(--warn-tint); }
.meter { display: block; width: 100%; height: 6px; margin: 7px 0 2px; } .meter .track { fill: var(--line); }
.meter .below { fill: var(--good-dot); } .meter .above { fill: var(--bad-dot); } .meter .mark { fill: var(--bad); }
td code, .facts td { overflow-wrap: anywhere; } .facts td:first-child { width: 130px; color: var(--soft); }
.small { font-size: 13px; } footer { margin-top: 40px; color: var(--soft); font-size: 13px; }
@media print { body { background: #fff; } .part, .panel, .tile { break-inside: avoid; } }
"""
