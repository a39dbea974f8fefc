// What the page asks of the service, and nothing else does. Every failure becomes an Error with words for people.

const TOKEN = "praison-store-token";

async function asked(method, path, { body, signal, tag, keepalive } = {}) {
  const headers = { Accept: "application/json" };
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (tag) headers["If-None-Match"] = tag;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method, headers, signal, keepalive, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.status === 401) {
    await signIn();
    return asked(method, path, { body, signal, tag, keepalive });
  }
  if (answer.status === 304) return { tag, data: null };
  const text = await answer.text();
  if (!answer.ok) throw Object.assign(new Error(told(answer.status, text)), { status: answer.status });
  return { tag: answer.headers.get("ETag"), data: text ? JSON.parse(text) : null };
}

function told(status, text) {
  try {
    const detail = JSON.parse(text).detail;
    if (typeof detail === "string") return detail;
  } catch {
    // no JSON: something in front of the service answered
  }
  return `The service answered ${status}.`;
}

function signIn() {
  const dialog = document.getElementById("sign-in");
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(TOKEN, document.getElementById("token").value);
      resolve();
    }, { once: true });
    if (!dialog.open) dialog.showModal();
  });
}

// An id of dots is no way up where a `~` stands behind it.
const dots = /^\.{1,2}~*$/;
// And `stats` is the service's own; with an escape it is a session.
const named = (id) => `${id === "stats" ? "%73tats" : encodeURIComponent(id)}${dots.test(id) ? "~" : ""}`;
const homes = new Map(); // the namespace of each session that was listed and is not in the first one
const place = (id, below = "") => `/sessions/${named(id)}${below}${homes.has(id) ? `?namespace=${encodeURIComponent(homes.get(id))}` : ""}`;

/** Return a page of sessions and how many there are: {sessions, total}. */
export async function sessions({ search, user, agent, order, limit, offset, signal }) {
  const query = new URLSearchParams({ limit, offset });
  if (order) query.set("order_by", order); // without one the newest come first, and a store need not sort them all
  for (const word of search.toLowerCase().split(/\s+/).filter(Boolean)) query.append("search", word);
  if (user) query.set("user_id__eq", JSON.stringify(user));
  if (agent) query.set("agent_name__eq", JSON.stringify(agent));
  const found = (await asked("GET", `/sessions?${query}`, { signal })).data;
  for (const one of found.sessions) one.namespace ? homes.set(one.session_id, one.namespace) : homes.delete(one.session_id);
  return found;
}

/** Return {tag, data}: a whole session; data is null where it is as it was at `tag`. */
export const session = (id, tag, signal) => asked("GET", place(id), { tag, signal });

/** Return everything there is of a session, as the service takes it back. */
export const exported = async (id) => (await asked("GET", place(id, "/export"))).data;

/** Forget a session. */
export const forget = (id, keepalive = false) => asked("DELETE", place(id), { keepalive });

/** Start a new session with the messages of another; return its id. */
export async function fork(id) {
  const made = (await asked("POST", place(id, "/fork"), { body: {} })).data.session_id;
  if (homes.has(id)) homes.set(made, homes.get(id));
  return made;
}

/** Return the service's own numbers. */
export const statistics = async () => (await asked("GET", "/sessions/stats")).data;
