// One session: its messages, followed while an agent writes, with what can be done to it.

import { element, markdown } from "./markdown.js";
import * as service from "./service.js";

const LOOK_AGAIN_MS = 1000;
const MOST_SHOWN = 500;

/** Return words of a content: the text, or the texts of its parts. */
export function words(content) {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (typeof part === "string" ? part : part?.text ?? `[${part?.type ?? "part"}]`)).join("\n");
}

/** Return a number of messages in words. */
export const counted = (number) => (number === 1 ? "1 message" : `${number.toLocaleString()} messages`);

/** Return a time as people read it. */
export function when(value) {
  const moment = typeof value === "number" ? new Date(value * 1000) : new Date(value);
  if (!value || Number.isNaN(moment.getTime())) return element("time", {}, "");
  return element("time", { datetime: moment.toISOString() }, moment.toLocaleString());
}

function message(one) {
  const calls = (one.tool_calls ?? []).map((call) => {
    const name = call?.function?.name ?? call?.name ?? "tool";
    return element("details", {}, element("summary", {}, `calls ${name}`),
      element("pre", {}, pretty(call?.function?.arguments ?? call)));
  });
  const text = words(one.content);
  const body = one.role === "tool"
    ? element("details", {}, element("summary", {}, `result${one.tool_call_id ? ` of ${one.tool_call_id}` : ""}`), element("pre", {}, pretty(text)))
    : markdown(text);
  return element("article", { class: "message", "data-role": one.role },
    element("header", {}, element("b", {}, one.role), when(one.timestamp),
      element("button", { type: "button", "aria-label": "Copy this message", click: () => navigator.clipboard.writeText(text) }, "copy")),
    body, ...calls);
}

function pretty(value) {
  if (typeof value !== "string") return JSON.stringify(value, null, 2);
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}

/** Show a session in a place, and follow it until `signal` is aborted. */
export async function show(root, id, signal, { notice, undoable }) {
  const messages = element("div", {});
  const count = element("span", { class: "faint" });
  const live = element("label", {}, element("input", { type: "checkbox", checked: true }), " follow");
  const follow = live.firstChild;
  const tools = element("div", { class: "tools" }, count, live,
    button("Copy all", async () => navigator.clipboard.writeText([...messages.querySelectorAll(".message")].map((one) => one.textContent).join("\n\n"))),
    button("Export", async () => save(`${id}.json`, await service.exported(id))),
    button("Fork", async () => { location.hash = `#/session/${encodeURIComponent(await service.fork(id))}`; }),
    button("Delete", async () => undoable(id)));
  const about = element("p", { class: "faint" });
  root.replaceChildren(element("p", {}, element("a", { href: "#/" }, "‹ All sessions")), element("h2", {}, id), about, tools, messages);

  function button(label, work) {
    return element("button", { type: "button", click: () => work().catch((error) => notice(error.message, true)) }, label);
  }

  let tag = null, failures = 0;
  let shown = [];
  while (!signal.aborted) {
    try {
      const found = await service.session(id, tag, signal);
      tag = found.tag;
      if (found.data) shown = draw(found.data, shown);
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      if (!failures) notice(error.message, true);
      if (!shown.length || error.status === 404) return;
      failures += 1;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS * 2 ** Math.min(failures, 5)));
    while (!follow.checked && !signal.aborted) await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }

  function draw(data, before) {
    const all = data.messages ?? [];
    const newest = all.slice(-MOST_SHOWN);
    const texts = newest.map((one) => JSON.stringify(one));
    let same = 0;
    while (same < before.length && before[same] === texts[same]) same += 1;
    while (messages.children.length > same) messages.lastChild.remove();
    messages.append(...newest.slice(same).map(message));
    count.textContent = all.length > MOST_SHOWN ? `the newest ${MOST_SHOWN} of ${counted(all.length)}` : counted(all.length);
    about.replaceChildren(...[data.agent_name && `agent ${data.agent_name} · `, data.user_id && `user ${data.user_id} · `, "changed ", when(data.updated_at)].filter(Boolean));
    if (before.length && same < texts.length && follow.checked) messages.lastChild.scrollIntoView({ block: "end" });
    return texts;
  }
}

function save(name, data) {
  const address = URL.createObjectURL(new Blob([JSON.stringify(data, null, 2)], { type: "application/json" }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
