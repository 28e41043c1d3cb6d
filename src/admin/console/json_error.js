// Where a text stops being JSON (RFC 8259), and what was expected there. Browsers know whether it is JSON; where it is
// not, each says so in words of its own, and some do not say where.

/** Levels that the server takes, too. */
const DEPTH_MAX = 160;

const NUMBER = /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;
const STRING_PART = /(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y;
const WHITE = /[ \t\r\n]*/y;

class Fault extends Error {
  constructor(position, message) {
    super(message);
    this.position = position;
  }
}

/** What is wrong with a text as JSON: `null`, or `{message, position, line, column}`, the place in characters. */
export function jsonError(text) {
  try {
    const end = white(text, value(text, white(text, 0), 0));
    if (end < text.length) throw new Fault(end, "nothing may follow the value");
    return null;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const before = text.slice(0, error.position);
    return {
      message: error.message,
      position: error.position,
      line: before.split("\n").length,
      column: error.position - before.lastIndexOf("\n"),
    };
  }
}

/** Behind what a pattern finds here; the place itself where it finds nothing. */
function behind(pattern, text, at) {
  pattern.lastIndex = at;
  return at + (pattern.exec(text)?.[0].length ?? 0);
}

function white(text, at) {
  return behind(WHITE, text, at);
}

function value(text, at, depth) {
  if (depth > DEPTH_MAX) throw new Fault(at, `more than ${DEPTH_MAX} levels`);
  const sign = text[at];
  if (sign === "{") return members(text, at, "}", depth);
  if (sign === "[") return members(text, at, "]", depth);
  if (sign === "\"") return string(text, at);
  const end = Math.max(behind(NUMBER, text, at), behind(WORD, text, at));
  if (end === at) throw new Fault(at, at < text.length ? "expected a value; texts need double quotes" : "it ends too early");
  return end;
}

/** The members of an object or the elements of an array, with the bracket that closes it. */
function members(text, open, close, depth) {
  let at = white(text, open + 1);
  if (text[at] === close) return at + 1;
  for (;;) {
    if (close === "}") {
      if (text[at] !== "\"") throw new Fault(at, at < text.length ? "expected a key in double quotes" : "it ends too early");
      at = white(text, string(text, at));
      if (text[at] !== ":") throw new Fault(at, "expected a colon behind the key");
      at = white(text, at + 1);
    }
    at = white(text, value(text, at, depth + 1));
    if (text[at] === close) return at + 1;
    if (text[at] !== ",") throw new Fault(at, at < text.length ? `expected a comma or ${close}` : `it ends before ${close}`);
    at = white(text, at + 1);
    if (text[at] === close) throw new Fault(at, "a comma may not stand before the end");
  }
}

function string(text, at) {
  const end = behind(STRING_PART, text, at + 1);
  if (text[end] === "\"") return end + 1;
  if (end >= text.length) throw new Fault(at, "this text is never closed");
  throw new Fault(end, text[end] === "\\" ? "no such escape" : "a line end or control character must be written as an escape");
}
