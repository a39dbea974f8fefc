// Numbers of the whole store, and three charts of the sessions written last.

import { element } from "./markdown.js";
import * as service from "./service.js";

const MOST = 1000;
const SVG = "http://www.w3.org/2000/svg";

/** Show the statistics in a place. */
export async function show(root, signal) {
  const [numbers, newest] = await Promise.all([
    service.statistics(),
    service.sessions({ search: "", user: "", agent: "", order: "", limit: MOST, offset: 0, signal }),
  ]);
  const of = newest.sessions.length < newest.total ? ` (the newest ${newest.sessions.length} sessions)` : "";
  const figures = Object.entries(numbers).filter(([, value]) => typeof value === "number" || typeof value === "string")
    .map(([name, value]) => element("div", {}, element("b", {}, typeof value === "number" ? value.toLocaleString() : value), name.replaceAll("_", " ")));
  root.replaceChildren(element("h2", {}, "Statistics"), element("div", { class: "figures" }, ...figures),
    chart(`Messages a day, by the day a session was changed${of}`, byDay(newest.sessions)),
    chart(`Sessions by agent${of}`, counted(newest.sessions, (one) => one.agent_name ?? "no agent").sort((a, b) => b[1] - a[1]).slice(0, 12)),
    chart(`Sessions by size${of}`, bySize(newest.sessions)));
}

function counted(rows, name, weight = () => 1) {
  const sums = new Map();
  for (const row of rows) sums.set(name(row), (sums.get(name(row)) ?? 0) + weight(row));
  return [...sums];
}

function byDay(rows) {
  const days = new Map(counted(rows, (one) => String(one.updated_at).slice(0, 10), (one) => one.message_count));
  const last = [...days.keys()].sort().at(-1);
  if (!last) return [];
  return Array.from({ length: 30 }, (_, index) => {
    const day = new Date(Date.parse(`${last}T00:00:00Z`) - (29 - index) * 86400000).toISOString().slice(0, 10);
    return [day, days.get(day) ?? 0];
  });
}

function bySize(rows) {
  const classes = ["under 1 KB", "1 to 10 KB", "10 to 100 KB", "100 KB to 1 MB", "over 1 MB"];
  const sizes = new Map(counted(rows, (one) => classes[Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(1, one.size_bytes))) - 2))]));
  return classes.map((name) => [name, sizes.get(name) ?? 0]);
}

function chart(title, rows) {
  const width = 600, height = 150, base = 125, most = Math.max(1, ...rows.map(([, value]) => value));
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${title}: ${rows.map(([name, value]) => `${name} ${value}`).join(", ")}`);
  const step = width / Math.max(1, rows.length);
  rows.forEach(([name, value], index) => {
    const tall = (value / most) * (base - 20);
    draw("rect", { x: index * step + step * 0.1, y: base - tall, width: step * 0.8, height: tall }, `${name}: ${value}`);
    if (rows.length <= 12 || index % 5 === 4) draw("text", { x: (index + 1) * step - (rows.length > 12 ? 0 : step / 2), y: base + 15, "text-anchor": rows.length > 12 ? "end" : "middle" }, rows.length > 12 ? name.slice(5) : name.slice(0, 16));
    if (value) draw("text", { x: index * step + step / 2, y: base - tall - 4, "text-anchor": "middle" }, value);
  });
  return element("figure", {}, element("figcaption", {}, title), svg);

  function draw(kind, attributes, text) {
    const node = document.createElementNS(SVG, kind);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (kind === "text") node.textContent = text;
    else node.append(Object.assign(document.createElementNS(SVG, "title"), { textContent: text }));
    svg.append(node);
  }
}
