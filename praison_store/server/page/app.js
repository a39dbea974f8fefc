// The page: which view is shown, the list of sessions, the keyboard, and what is said to whoever looks.

import { element } from "./markdown.js";
import * as service from "./service.js";
import * as statistics from "./statistics.js";
import * as transcript from "./transcript.js";

const PAGE = 50, UNDO_MS = 8000, TYPING_MS = 200;
const by = (id) => document.getElementById(id);
const views = { list: by("list"), transcript: by("transcript"), statistics: by("statistics") };
const going = new Map(); // sessions that are deleted when nobody undoes it
let offset = 0, running = new AbortController();

function notice(text, bad = false, label = null, work = null) {
  const line = element("div", { class: bad ? "notice bad" : "notice" }, element("span", {}, text));
  const gone = setTimeout(() => line.remove(), bad ? 15000 : UNDO_MS);
  if (label) line.append(element("button", { type: "button", click: () => { clearTimeout(gone); line.remove(); work(); } }, label));
  by("notices").append(line);
}

function undoable(id) {
  const timer = setTimeout(() => finish(id), UNDO_MS);
  going.set(id, timer);
  if (location.hash.startsWith("#/session/")) location.hash = "#/";
  else list();
  notice(`${id} is deleted.`, false, "Undo", () => { clearTimeout(timer); going.delete(id); list(); });
}

async function finish(id, keepalive = false) {
  going.delete(id);
  try {
    await service.forget(id, keepalive);
  } catch (error) {
    notice(`${id} was not deleted: ${error.message}`, true);
  }
  if (!keepalive && !views.list.hidden) list();
}

function row(one) {
  const name = one.metadata?.title || one.session_id;
  const beside = [one.agent_name, one.user_id, name === one.session_id ? null : one.session_id].filter(Boolean).join(" · ");
  return element("li", {},
    element("a", { href: `#/session/${encodeURIComponent(one.session_id)}` }, element("span", { class: "name" }, name), element("span", { class: "faint" }, beside)),
    element("span", { class: "numbers faint" }, transcript.counted(one.message_count), element("br"), transcript.when(one.updated_at)),
    element("button", { type: "button", "aria-label": `Delete ${name}`, click: () => undoable(one.session_id) }, "✕"));
}

async function list() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  try {
    const found = await service.sessions({
      search: by("search").value, user: by("user").value.trim(), agent: by("agent").value.trim(), order: by("order").value, limit: PAGE, offset, signal,
    });
    if (signal.aborted) return;
    const rows = found.sessions.filter((one) => !going.has(one.session_id));
    by("rows").replaceChildren(...rows.map(row));
    by("total").textContent = found.total === 1 ? "1 session" : `${found.total.toLocaleString()} sessions`;
    by("place").textContent = found.total ? `${(offset + 1).toLocaleString()} to ${Math.min(offset + PAGE, found.total).toLocaleString()}` : "";
    by("first").disabled = by("previous").disabled = offset === 0;
    by("next").disabled = offset + PAGE >= found.total;
  } catch (error) {
    if (!signal.aborted) notice(error.message, true);
  }
}

function turn(to) {
  offset = Math.max(0, to);
  list();
  scrollTo(0, 0);
}

function route() {
  running.abort();
  running = new AbortController();
  const [, view, id] = location.hash.split("/");
  const shown = view === "session" ? "transcript" : view === "statistics" ? "statistics" : "list";
  for (const [name, place] of Object.entries(views)) place.hidden = name !== shown;
  document.title = shown === "transcript" ? decodeURIComponent(id) : "Sessions";
  if (shown === "transcript") transcript.show(views.transcript, decodeURIComponent(id), running.signal, { notice, undoable });
  else if (shown === "statistics") statistics.show(views.statistics, running.signal).catch((error) => notice(error.message, true));
  else list();
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else location.hash = "#/";
  } else if (!typing && event.key === "/") {
    event.preventDefault();
    if (views.list.hidden) location.hash = "#/";
    by("search").focus();
  } else if (!typing && (event.key === "j" || event.key === "k") && !views.list.hidden) {
    const links = [...by("rows").querySelectorAll("a")];
    const next = links.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
    links[Math.max(0, Math.min(next, links.length - 1))]?.focus();
  } else if (!typing && (event.key === "n" || event.key === "p") && !views.list.hidden) {
    by(event.key === "n" ? "next" : "previous").click();
  }
}

let typed = 0;
by("filters").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(() => turn(0), TYPING_MS); });
by("filters").addEventListener("submit", (event) => { event.preventDefault(); turn(0); });
by("first").addEventListener("click", () => turn(0));
by("previous").addEventListener("click", () => turn(offset - PAGE));
by("next").addEventListener("click", () => turn(offset + PAGE));
by("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = localStorage.theme = dark === "dark" ? "light" : "dark";
});
if (localStorage.theme) document.documentElement.dataset.theme = localStorage.theme;
addEventListener("hashchange", route);
addEventListener("keydown", key);
addEventListener("pagehide", () => { for (const [id, timer] of going) { clearTimeout(timer); finish(id, true); } });
route();
