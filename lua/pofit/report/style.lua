--- The style sheet of a report: light and dark, colours that colour-blind readers can tell apart (after Okabe and Ito).
return [[
:root { color-scheme: light dark; --page: #f6f7f8; --card: #ffffff; --ink: #1c2127; --soft: #5d6670; --rule: #e2e5e9;
  --zero: #aab1b9; --c1: #0072b2; --c2: #c75100; --c3: #00805c; --c4: #a5548a; --good: #0072b2; --good-soft: #e3f0f9;
  --bad: #c75100; --bad-soft: #fcebdf; }
@media (prefers-color-scheme: dark) {
  :root { --page: #121518; --card: #1a1e23; --ink: #e7eaed; --soft: #9aa4ae; --rule: #2c3239; --zero: #59626c;
    --c1: #5cb8ee; --c2: #f2914a; --c3: #34c79a; --c4: #dd9bc5; --good: #5cb8ee; --good-soft: #16303f; --bad: #f2914a;
    --bad-soft: #412613; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  "Noto Sans", "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 40px 0 12px; }
p { margin: 0; }
.lead { color: var(--soft); max-width: 70ch; }
.small { font-size: 12px; color: var(--soft); }
.card, figure { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.hero { display: grid; grid-template-columns: minmax(300px, 1fr) minmax(300px, 1.1fr); gap: 8px 40px;
  align-items: center; padding: 22px 26px; margin-top: 24px; }
.hero + .hero { margin-top: 12px; }
.what { font-size: 13px; color: var(--soft); }
.big { font-size: 38px; font-weight: 650; line-height: 1.2; letter-spacing: -0.02em; white-space: nowrap; }
.big .from, .big .arrow { color: var(--soft); font-weight: 400; }
.big .to { color: var(--good); } .big .worse { color: var(--bad); }
.change { margin-top: 2px; }
.change b { font-weight: 650; }
.facts { display: flex; flex-wrap: wrap; gap: 8px 36px; margin: 18px 2px 0; }
.facts dt { font-size: 12px; color: var(--soft); }
.facts dd { margin: 0; font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 16px; }
figure { margin: 0; padding: 14px 14px 10px; }
figcaption { font-weight: 600; font-size: 14px; padding: 0 4px 4px; }
figure .small { padding: 2px 4px 0; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 12px; fill: var(--soft); }
svg .label { font-size: 12.5px; } svg .label tspan { font-weight: 650; }
.grid { stroke: var(--rule); } .zero { stroke: var(--zero); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.thin { stroke-width: 1; opacity: 0.35; }
.s1 { stroke: var(--c1); } .s2 { stroke: var(--c2); } .s3 { stroke: var(--c3); } .s4 { stroke: var(--c4); }
.f1 { fill: var(--c1); } .f2 { fill: var(--c2); } .f3 { fill: var(--c3); } .f4 { fill: var(--c4); }
svg .t1 { fill: var(--c1); } svg .t2 { fill: var(--c2); } svg .t3 { fill: var(--c3); } svg .t4 { fill: var(--c4); }
.hover line { stroke: var(--soft); opacity: 0; } .hover rect { fill: transparent; } .hover:hover line { opacity: 0.7; }
.bar { stroke-width: 4; stroke-linecap: round; opacity: 0.45; }
.bar.was { stroke: var(--soft); } .bar.is { stroke: var(--good); }
.dot.was { fill: var(--soft); } .dot.is { fill: var(--good); }
.sample { padding: 16px 20px; margin-bottom: 12px; }
.sample .prompt { margin-bottom: 12px; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 12px 20px; }
.text { font: 14px/1.55 ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.side { border-left: 3px solid var(--rule); padding-left: 12px; }
.side.right { border-color: var(--good); } .side.wrong { border-color: var(--bad); }
.badge { display: inline-block; border-radius: 99px; padding: 0 9px; margin-left: 8px; font-size: 12px;
  font-weight: 600; }
.right .badge { color: var(--good); background: var(--good-soft); }
.wrong .badge { color: var(--bad); background: var(--bad-soft); }
mark { background: var(--bad-soft); color: var(--bad); border-bottom: 2px solid var(--bad);
  border-radius: 3px 3px 0 0; }
.options { columns: 3 300px; column-gap: 40px; padding: 16px 22px; margin: 0; }
.options div { display: flex; justify-content: space-between; gap: 16px; padding: 4px 0; break-inside: avoid;
  border-bottom: 1px solid var(--rule); }
.options dt { color: var(--soft); } .options dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
.notes { margin: 0; padding: 0 0 0 20px; }
@media (max-width: 720px) { main { padding: 24px 14px 48px; } .hero, .sides { grid-template-columns: 1fr; }
  .big { font-size: 30px; } }
]]
