"use strict";
const all = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const make = (tag, text, kind) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
};
const choices = (id, values) => {
  for (const value of ["all", ...values]) at(id).append(new Option(value, value));
};
const unique = (field) => [...new Set(all.map((each) => each[field]))].sort();
choices("agent", unique("agent"));
choices("exit", unique("exit"));
choices("resolved", ["yes", "no"]);

const texts = all.map((each) => [each.key, ...each.turns.map((turn) => turn.text)].join("\n").toLowerCase());
const wanted = (each, index) =>
  (at("agent").value === "all" || at("agent").value === each.agent) &&
  (at("exit").value === "all" || at("exit").value === each.exit) &&
  (at("resolved").value === "all" || (at("resolved").value === "yes") === each.resolved) &&
  texts[index].includes(at("search").value.toLowerCase());

function list() {
  const shown = all.filter(wanted);
  at("count").textContent = `${shown.length} of ${all.length}`;
  at("list").replaceChildren(...shown.map((each) => {
    const button = make("button");
    button.type = "button";
    button.append(make("span", each.resolved ? "✓ " : "✗ ", each.resolved ? "good" : "bad"), each.key);
    button.append(make("div", `${each.exit} · ${each.turns.filter((t) => t.role === "action").length} turns`, "facts"));
    button.onclick = () => { location.hash = encodeURIComponent(each.key); };
    button.dataset.key = each.key;
    const item = make("li");
    item.append(button);
    return item;
  }));
  mark();
}

function mark() {
  const key = decodeURIComponent(location.hash.slice(1));
  for (const button of at("list").querySelectorAll("button")) {
    if (button.dataset.key === key) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

function diff(text) {
  const pre = make("pre");
  for (const line of text.split("\n")) {
    const kind = line.startsWith("@@") ? "at" : /^\+(?!\+\+ )/.test(line) ? "add" : /^-(?!-- )/.test(line) ? "del" : "";
    pre.append(make("span", line + "\n", kind));
  }
  return pre;
}

function folded(title, content, open) {
  const box = make("details");
  box.open = open;
  box.append(make("summary", title), content);
  return box;
}

function turn(each, index) {
  const tokens = each.tokens === null ? "" : ` · ${each.tokens} tokens`;
  const title = `${index} · ${each.role}${each.tool ? " · " + each.tool : ""}${tokens}`;
  const looksLikePatch = each.text.includes("diff --git ");
  const box = folded(title, looksLikePatch ? diff(each.text) : make("pre", each.text), each.role !== "prompt");
  box.classList.add(each.role);
  return box;
}

function tests(rows) {
  const table = make("table");
  const head = table.createTHead().insertRow();
  for (const name of ["test", "before", "after"]) head.append(make("th", name));
  for (const [name, before, after] of rows) {
    const row = table.insertRow();
    row.append(make("td", name));
    for (const outcome of [before, after]) row.append(make("td", outcome, outcome === "passed" ? "good" : outcome === "failed" || outcome === "error" ? "bad" : ""));
  }
  return table;
}

function show() {
  const key = decodeURIComponent(location.hash.slice(1));
  const each = all.find((one) => one.key === key) || all[0];
  if (!each) return;
  const head = make("h2", each.key);
  const state = make("p");
  state.append(make("strong", each.resolved ? "resolved" : each.result || "not resolved", each.resolved ? "good" : "bad"));
  state.append(` ${each.reason}`);
  const facts = make("p", [each.repository, each.agent, each.exit, each.reward === null ? "" : `reward ${each.reward}`, each.duration ? `${each.duration.toFixed(1)} s` : ""].filter(Boolean).join(" · "), "facts");
  const parts = [head, state, facts];
  if (each.dropped.length) parts.push(make("p", `Did not cross into the judging sandbox: ${each.dropped.join(", ")}`));
  if (each.patch) parts.push(folded("patch", diff(each.patch), true));
  if (each.tests.length) {
    const changed = each.tests.filter(([, before, after]) => before !== after);
    parts.push(folded(`tests: ${changed.length} of ${each.tests.length} changed`, tests(each.tests), false));
  }
  if (each.output) parts.push(folded("end of the test run", make("pre", each.output), false));
  at("one").replaceChildren(...parts, ...each.turns.map(turn));
  mark();
}

for (const id of ["search", "agent", "exit", "resolved"]) at(id).addEventListener("input", list);
addEventListener("hashchange", show);
list();
show();
