"use strict";
// State is text everywhere: nothing of the trace is ever parsed as markup.
const trace = JSON.parse(document.getElementById("trace").textContent);
const NAMES = { c: "call", s: "resume", l: "line", r: "return", y: "yield", e: "exception" };
const byId = (id) => document.getElementById(id);
const steps = trace.steps.map((row) => ({
  event: row[0], line: row[1], depth: row[2], name: trace.functions[row[3]], activation: row[4],
  changed: row[5] ?? {}, gone: row[6] ?? [], value: row[7] ?? null, stdout: row[8] ?? "",
  thread: row[9] ?? 0,
}));
const last = steps.length - 1;
const predictions = trace.predictions ?? [];
const isWrong = (index) => (predictions[index]?.wrong ?? []).length > 0;
let now = 0;

// Calls: one per activation, in the order of their first step.

const calls = new Map();
const roots = [];
{
  const open = new Map(); // thread -> calls under way
  const before = new Map(); // activation -> its latest step
  steps.forEach((step, index) => {
    const stack = open.get(step.thread) ?? [];
    open.set(step.thread, stack);
    if (step.activation === index) {
      while (stack.length && stack.at(-1).depth >= step.depth) stack.pop();
      const parent = stack.at(-1) ?? null;
      const call = { index, depth: step.depth, name: step.name, parent, children: [], end: index, place: 0, value: null };
      call.place = (parent ? parent.children : roots).push(call) - 1;
      calls.set(index, call);
      stack.push(call);
    }
    const call = calls.get(step.activation);
    call.end = index;
    if ("ry".includes(step.event)) call.value = step.value;
    step.previous = before.get(step.activation) ?? -1;
    before.set(step.activation, index);
  });
}

// State: differences are added up from the nearest step whose state is known.

const known = new Map();
function stateAt(index) {
  const path = [];
  let at = index;
  while (at >= 0 && !known.has(at)) { path.push(at); at = steps[at].previous; }
  const state = new Map(at >= 0 ? known.get(at) : []);
  if (known.size > 300) known.clear();
  for (let i = path.length - 1; i >= 0; i--) {
    apply(steps[path[i]], state);
    if (i % 200 === 0) known.set(path[i], new Map(state));
  }
  return state;
}
function apply(step, state) {
  if (isInput(step)) return;
  for (const name of step.gone) state.delete(name);
  for (const [name, text] of Object.entries(step.changed)) state.set(name, text);
}
const isInput = (step) => step.event === "c" && step.name === "<module>";
function latestOf(call, index) {
  let at = call.end > index ? -1 : call.end;
  for (let i = index; at < 0 && i >= call.index; i--) if (steps[i].activation === call.index) at = i;
  return at;
}

// Moving

function go(index, keep) {
  now = Math.max(0, Math.min(last, index));
  draw();
  if (!keep) try { history.replaceState(null, "", "#" + now); } catch { /* not from a file */ }
}
function over(direction) {
  const { depth, thread } = steps[now];
  let i = now + direction;
  while (i > 0 && i < last && (steps[i].thread !== thread || steps[i].depth > depth)) i += direction;
  return i;
}
const moves = {
  first: () => 0, last: () => last, on: () => now + 1, back: () => now - 1,
  over: () => over(1), "over-back": () => over(-1),
  divergence: () => { let i = now + 1; while (i <= last && !isWrong(i)) i++; return i > last ? now : i; },
  out: () => (now === calls.get(steps[now].activation).end ? now + 1 : calls.get(steps[now].activation).end),
};
const keys = {
  ArrowRight: "on", ArrowLeft: "back", ArrowDown: "over", ArrowUp: "over-back",
  Home: "first", End: "last", o: "out", d: "divergence",
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  event.preventDefault();
  const many = event.shiftKey && ["on", "back"].includes(keys[event.key]);
  go(many ? now + (keys[event.key] === "on" ? 25 : -25) : moves[keys[event.key]]());
});
for (const button of document.querySelectorAll("[data-go]"))
  button.addEventListener("click", () => go(moves[button.dataset.go]()));
byId("time").addEventListener("input", (event) => go(Number(event.target.value)));
window.addEventListener("hashchange", () => go(Number(location.hash.slice(1)) || 0, true));

// Drawing

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}
const LONG = 400;
function valueCell(text, old) {
  const cell = element("td");
  if (old !== undefined) cell.append(element("del", old.length > 60 ? old.slice(0, 59) + "…" : old));
  if (text.length <= LONG) { cell.append(text); return cell; }
  const short = element("span", text.slice(0, LONG) + "… ");
  const more = element("span", "all", "more");
  more.addEventListener("click", () => { short.textContent = text; more.remove(); });
  cell.append(short, more);
  return cell;
}
function variables(table, step, state, before) {
  const rows = [];
  for (const [name, text] of state) {
    const isNew = step && name in step.changed && before.get(name) !== text;
    const row = element("tr", undefined, isNew ? "changed" : "");
    row.append(element("td", name), valueCell(text, isNew ? before.get(name) : undefined));
    rows.push(row);
  }
  for (const name of step ? step.gone : []) {
    if (!before.has(name)) continue;
    const row = element("tr", undefined, "gone");
    row.append(element("td", name), valueCell(before.get(name)));
    rows.push(row);
  }
  table.replaceChildren(...rows);
}

const lines = trace.source.map((text, index) => {
  const line = element("li", text || " ");
  line.title = "Go to the next time that this line runs";
  line.addEventListener("click", () => {
    const isHere = (step) => step.line === index + 1 && step.event === "l";
    const next = steps.findIndex((step, i) => i > now && isHere(step));
    const found = next >= 0 ? next : steps.findIndex(isHere);
    if (found >= 0) go(found);
  });
  return line;
});
byId("source").append(...lines);
let marked = [];
function drawSource(step, call) {
  for (const line of marked) line.classList.remove("current", "caller");
  marked = [];
  for (let up = call.parent; up; up = up.parent) mark(steps[latestOf(up, now)]?.line, "caller");
  mark(step.line, "current");
  marked.at(-1)?.scrollIntoView({ block: "nearest" });
}
function mark(line, className) {
  const found = lines[line - 1];
  if (found) { found.classList.add(className); marked.push(found); }
}

function drawEvent(step) {
  const box = byId("event");
  box.className = step.event;
  box.replaceChildren(element("b", NAMES[step.event]), " ", element("span", step.thread ? `in thread ${step.thread} ` : ""),
    element("code", (trace.source[step.line - 1] ?? "").trim()));
  if (step.value !== null) {
    const arrow = step.event === "e" ? " ✗ " : " → ";
    box.append(arrow, element("code", step.value));
  }
  if (isInput(step))
    for (const [name, text] of Object.entries(step.changed)) box.append(element("br"), element("code", `${name} = ${text}`));
}

function drawState(step, call) {
  const before = step.previous >= 0 ? stateAt(step.previous) : new Map();
  byId("function").replaceChildren("in ", element("code", call.name));
  variables(byId("state").tBodies[0], step, stateAt(now), before);
  const callers = [];
  for (let up = call.parent; up; up = up.parent) {
    const at = latestOf(up, now);
    if (at < 0) continue;
    const box = element("details");
    box.append(element("summary", `called from ${up.name}, line ${steps[at].line}`));
    box.addEventListener("toggle", () => {
      if (!box.open || box.querySelector("table")) return;
      const table = element("table");
      const body = table.createTBody();
      variables(body, null, stateAt(at), new Map());
      box.append(table);
    });
    callers.push(box);
    if (callers.length >= 50) break;
  }
  byId("callers").replaceChildren(...callers);
}

// The model: its prediction of this event from those before, with its probabilities.

function drawModel() {
  byId("model").hidden = byId("divergence").hidden = predictions.length === 0;
  const made = predictions[now];
  const box = byId("verdict");
  if (!made) { box.textContent = "The first event is given."; byId("predicted").tBodies[0].replaceChildren(); return; }
  const compared = made.wrong.length > 0;
  box.className = compared ? "wrong" : "";
  box.textContent = compared ? `differs in ${made.wrong.join(", ")}` : "";
  const rows = [["event", ...made.event, "event"]];
  if (made.source) rows.push(["line", ...made.source, "source"]);
  for (const [name, text, sure] of made.locals ?? []) rows.push([name, text, sure, name]);
  if (made.value) rows.push(["value", ...made.value, "value"]);
  for (const problem of made.problems ?? []) rows.push(["problem", problem, null, ""]);
  byId("predicted").tBodies[0].replaceChildren(...rows.map(([name, text, sure, part]) => {
    const row = element("tr", undefined, made.wrong.includes(part) ? "wrong" : "");
    row.append(element("td", name), valueCell(text), element("td", sure === null ? "" : sure.toFixed(2), "sure"));
    return row;
  }));
}

const prints = [];
steps.forEach((step, index) => { if (step.stdout) prints.push(index); });
function drawOutput() {
  if (!prints.length && !trace.stdout) return;
  byId("printed").hidden = false;
  const box = byId("stdout");
  if (!prints.length) { box.textContent = trace.stdout; return; }
  const old = prints.filter((index) => index < now - 1).map((index) => steps[index].stdout).join("");
  const fresh = now > 0 ? steps[now - 1].stdout : "";
  const tail = now === last ? steps[last].stdout : "";
  box.replaceChildren(old, element("mark", fresh), tail);
  box.scrollTop = box.scrollHeight;
}

// The tree shows open calls only, and of many siblings those near the current one.

const WINDOW = 25;
const unfolded = new Set();
function drawTree(call) {
  const path = new Set();
  for (let up = call; up; up = up.parent) path.add(up);
  const tree = byId("tree");
  tree.replaceChildren(...branch(roots, path, call));
  const here = tree.querySelector(".now");
  if (here) tree.scrollTop = Math.max(0, here.offsetTop - tree.clientHeight / 2);
}
function branch(list, path, call) {
  const at = Math.max(0, list.findIndex((each) => path.has(each)));
  const from = Math.max(0, at - WINDOW);
  const shown = list.slice(from, at + WINDOW + 1);
  const made = shown.map((each) => twig(each, path, call));
  if (from > 0) made.unshift(hidden(from, list[from - 1]));
  const rest = list.length - from - shown.length;
  if (rest > 0) made.push(hidden(rest, list[from + shown.length]));
  return made;
}
function hidden(count, target) {
  const row = element("li");
  const text = element("span", `… ${count} more`, "call");
  text.addEventListener("click", () => go(target.index));
  row.append(text);
  return row;
}
function twig(each, path, call) {
  const row = element("li");
  const open = each.children.length > 0 && (path.has(each) || unfolded.has(each.index));
  const line = element("div", undefined, "call" + (each === call ? " now" : each.end < now ? " past" : ""));
  const fold = element("span", each.children.length ? (open ? "▾" : "▸") : "", "fold");
  fold.addEventListener("click", (event) => {
    event.stopPropagation();
    unfolded.has(each.index) ? unfolded.delete(each.index) : unfolded.add(each.index);
    draw();
  });
  line.append(fold, element("span", label(each), "text"));
  line.addEventListener("click", () => go(each.index));
  row.append(line);
  if (open) {
    const inner = element("ul");
    inner.append(...branch(each.children, path, call));
    row.append(inner);
  }
  return row;
}
function label(each) {
  const step = steps[each.index];
  const given = Object.entries(step.changed).map(([name, text]) => `${name}=${text.slice(0, 24)}`).join(", ");
  const result = each.end <= now && each.value !== null ? ` → ${each.value.slice(0, 40)}` : "";
  return `${each.name}(${given.slice(0, 80)})${result}`;
}

// The strip of depths over time

const canvas = byId("depths");
let strip = null;
function paintStrip() {
  const width = Math.max(100, canvas.clientWidth | 0);
  canvas.width = width;
  const deepest = steps.reduce((most, step) => Math.max(most, step.depth), 0) + 1;
  const style = getComputedStyle(document.documentElement);
  const context = canvas.getContext("2d");
  const bars = new Float64Array(width), bad = new Uint8Array(width);
  steps.forEach((step, index) => {
    const from = Math.floor((index / (last + 1)) * width), to = Math.ceil(((index + 1) / (last + 1)) * width);
    for (let x = from; x < to; x++) {
      bars[x] = Math.max(bars[x], (step.depth + 1) / deepest);
      if (step.event === "e" || isWrong(index)) bad[x] = 1;
    }
  });
  for (let x = 0; x < width; x++) {
    context.fillStyle = style.getPropertyValue(bad[x] ? "--bad" : "--rule");
    context.fillRect(x, 34 - 32 * bars[x], 1, 32 * bars[x]);
  }
  strip = context.getImageData(0, 0, width, 34);
}
function drawStrip() {
  if (!strip) paintStrip();
  const context = canvas.getContext("2d");
  context.putImageData(strip, 0, 0);
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--edge");
  context.fillRect(Math.floor(((now + 0.5) / (last + 1)) * canvas.width) - 1, 0, 2, 34);
}
canvas.addEventListener("click", (event) => {
  const box = canvas.getBoundingClientRect();
  go(Math.floor(((event.clientX - box.left) / box.width) * (last + 1)));
});
window.addEventListener("resize", () => { strip = null; if (last >= 0) drawStrip(); });

function draw() {
  const step = steps[now];
  const call = calls.get(step.activation);
  byId("time").value = now;
  byId("where").textContent = `step ${now + 1} of ${last + 1}, line ${step.line}`;
  drawSource(step, call);
  drawEvent(step);
  drawState(step, call);
  drawModel();
  drawOutput();
  drawTree(call);
  drawStrip();
}

// The page as a whole

byId("outcome").textContent = trace.outcome + (trace.reason ? `: ${trace.reason}` : "");
byId("facts").textContent = `${trace.facts.filter(Boolean).join(" · ")} · keys: ← → step, ↑ ↓ over calls, o out, Home, End, Shift ×25`;
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  strip = null;
  if (last >= 0) drawStrip();
});
byId("time").max = Math.max(0, last);
if (last >= 0) go(Number(location.hash.slice(1)) || 0, true);
else byId("event").textContent = "No event was recorded.";
