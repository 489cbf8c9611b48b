"""The style sheet of the page at ``/docs``: one column on a phone, two on a wide screen, light and dark."""

STYLE = """
:root {
  color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif;
  --paper: #f6f5f2; --card: #fff; --ink: #1c1b22; --soft: #62606d; --line: #dedbe2; --accent: #5b3fd0;
}
@media (prefers-color-scheme: dark) {
  :root { --paper: #121117; --card: #1c1b24; --ink: #ebe9f2; --soft: #a5a2b3; --line: #34323f; --accent: #b3a4ff; }
}
* { box-sizing: border-box; }
body { max-width: 64rem; margin: 0 auto; padding: 1rem; background: var(--paper); color: var(--ink); }
body { overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1rem 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .25rem; }
h3 { font-size: 1.05rem; margin: 0 0 .5rem; }
h4 { font-size: .875rem; margin: 1.25rem 0 .25rem; color: var(--soft); }
h3, code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
code, pre { font-size: .875em; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
article, nav, pre { border: 1px solid var(--line); border-radius: .5rem; }
article, nav { background: var(--card); padding: 1rem; margin: 1rem 0; }
nav h2 { margin: 0 0 .5rem; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav > ul > li { display: grid; gap: 0 1rem; padding: .25rem 0; }
nav li ul { display: flex; flex-wrap: wrap; gap: 0 1.25rem; }
nav a { display: inline-block; padding: .1rem 0; }
dd span, .label, dd ul { color: var(--soft); }
.label { margin: .75rem 0 .25rem; font-size: .875rem; }
pre { background: var(--paper); padding: .6rem .75rem; margin: .25rem 0; }
details pre { overflow: auto; max-height: 26rem; }
.sample { white-space: pre-wrap; user-select: all; }
summary { cursor: pointer; padding: .25rem 0; }
dl { margin: .25rem 0; display: grid; gap: .15rem 1rem; }
dd { margin: 0 0 .5rem; min-width: 0; }
dd p, dd ul { margin: .25rem 0; }
dd ul { padding-left: 1.1rem; font-size: .875rem; }
@media (min-width: 46rem) {
  body { padding: 1rem 2rem 4rem; }
  article, nav { padding: 1.25rem 1.5rem; }
  dl { grid-template-columns: 14rem minmax(0, 1fr); }
  nav > ul > li { grid-template-columns: 14rem minmax(0, 1fr); }
}
"""
