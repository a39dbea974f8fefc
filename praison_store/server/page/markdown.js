// Shows Markdown as nodes. Text from a session only ever becomes text nodes, and links only http and https: no message
// can bring markup or script of its own.

const SAFE_LINK = /^https?:\/\//i;
// Marks are looked for from each place on, so that a text of nothing but brackets would take its length squared.
const LONGEST_MARKED = 20000;
const INLINE = /(`[^`\n]+`)|(\*\*[^*\n]+\*\*)|(\*[^*\n]+\*)|(\[[^[\]\n]*\]\([^()\s]+\))/;

/** Return an element with attributes and children; children that are text become text nodes. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Return nodes for a text: paragraphs, fenced code, headings, lists. */
export function markdown(text) {
  const nodes = document.createDocumentFragment();
  text.split(/^```[^\n]*$/m).forEach((block, index) => {
    if (index % 2) nodes.append(element("pre", {}, element("code", {}, block.replace(/^\n|\n$/g, ""))));
    else for (const part of block.split(/\n{2,}/)) if (part.trim()) nodes.append(paragraph(part));
  });
  return nodes;
}

function paragraph(part) {
  const heading = /^(#{1,6})\s+(.*)$/.exec(part.trim());
  if (heading && !part.trim().includes("\n")) return element("p", {}, element("strong", {}, ...inline(heading[2])));
  const lines = part.trim().split("\n");
  if (lines.every((line) => /^\s*([-*+]|\d+\.)\s+/.test(line))) {
    const items = lines.map((line) => element("li", {}, ...inline(line.replace(/^\s*([-*+]|\d+\.)\s+/, ""))));
    return element(/^\s*\d/.test(lines[0]) ? "ol" : "ul", {}, ...items);
  }
  return element("p", {}, ...inline(part.replace(/^\n+|\n+$/g, "")));
}

function inline(text) {
  if (text.length > LONGEST_MARKED) return [text];
  const nodes = [];
  let rest = text;
  for (let found = INLINE.exec(rest); found; found = INLINE.exec(rest)) {
    if (found.index) nodes.push(rest.slice(0, found.index));
    nodes.push(marked(found[0]));
    rest = rest.slice(found.index + found[0].length);
  }
  if (rest) nodes.push(rest);
  return nodes;
}

function marked(text) {
  if (text.startsWith("`")) return element("code", {}, text.slice(1, -1));
  if (text.startsWith("**")) return element("strong", {}, text.slice(2, -2));
  if (text.startsWith("*")) return element("em", {}, text.slice(1, -1));
  const [, label, address] = /^\[([^\]]*)\]\(([^()\s]+)\)$/.exec(text);
  if (!SAFE_LINK.test(address)) return text;
  return element("a", { href: address, rel: "noopener noreferrer nofollow", target: "_blank" }, label || address);
}
