// Server-sent events out of a response's body (WHATWG HTML, section 9.2.6). `EventSource` cannot send a header, and a
// token does not belong into an address.

/** Characters that an event may have before it is given up: far over the largest payload. */
const EVENT_CHARACTERS_MAX = 200_000_000;

/** The events of a body, as `{type, data}`. Comments are passed over. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let type = "message";
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      if (rest.length > EVENT_CHARACTERS_MAX) throw new Error("an event is too large");
      const lines = rest.split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length > 0) yield { type, data: data.join("\n") };
          type = "message";
          data = [];
        } else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        else if (line.startsWith("event:")) type = line.slice(6).trim();
      }
    }
  } finally {
    await reader.cancel().catch(() => {
      // The stream is over already.
    });
  }
}
