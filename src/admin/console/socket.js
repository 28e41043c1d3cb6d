// The Test tab of a WebSocket webhook: this page connects to the ingress as any client does.

import { h, put } from "./dom.js";
import { drafts } from "./store.js";
import { clock } from "./time.js";
import { button, field } from "./ui.js";

/** Lines that are kept: the oldest go. */
const LINES_MAX = 500;
/** Characters of a message that are shown. */
const SHOWN_CHARACTERS_MAX = 10_000;

export async function socketPanel({ webhook, url, panel, signal }) {
  if (url === null) return put(panel, h("p", {}, "There is no URL to connect to; see above."));
  const name = `socket.${webhook.id}`;
  const values = { path: "", message: "{\"value\": 30}", ...drafts.read(name) };
  let socket = null;

  const path = field("Path and query", h("input", { value: values.path, placeholder: "/room?x=1", class: "mono", autocomplete: "off", spellcheck: "false" }), "What follows the token.");
  const message = field("Message", h("textarea", { class: "mono", rows: 4, spellcheck: "false" }), "Sent as a text message. Ctrl+Enter sends it.");
  message.control.value = values.message;
  for (const [part, key] of [[path, "path"], [message, "message"]]) {
    part.control.addEventListener("input", () => {
      values[key] = part.control.value;
      drafts.keep(name, values);
    });
  }
  const state = h("span", { class: "quiet", role: "status" }, "Not connected.");
  const talk = h("ol", { class: "talk", "aria-label": "Messages", tabindex: "0" });
  const tell = (kind, sign, text) => {
    const cut = text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text;
    talk.append(h("li", { class: kind }, h("span", { "aria-label": { out: "sent", in: "received", about: "connection" }[kind] }, sign),
      h("span", { class: "quiet" }, clock(Date.now())), h("span", {}, cut)));
    while (talk.children.length > LINES_MAX) talk.firstElementChild.remove();
    talk.scrollTop = talk.scrollHeight;
  };
  const draw = () => {
    const isOpen = socket?.readyState === WebSocket.OPEN;
    connect.textContent = socket ? "Disconnect" : "Connect";
    send.disabled = !isOpen;
    path.control.disabled = socket !== null;
    state.textContent = isOpen ? "Connected." : socket ? "Connecting…" : "Not connected.";
  };
  const open = () => {
    try {
      socket = new WebSocket(url + values.path);
    } catch (error) {
      tell("about", "!", error.message);
      return;
    }
    const mine = socket;
    let wasOpen = false;
    mine.binaryType = "arraybuffer";
    mine.addEventListener("open", () => {
      wasOpen = true;
      tell("about", "·", "connected");
      draw();
    });
    mine.addEventListener("message", (event) =>
      tell("in", "←", typeof event.data === "string" ? event.data : `${event.data.byteLength} bytes: ${hex(event.data)}`));
    mine.addEventListener("close", (event) => {
      const why = wasOpen
        ? `closed with ${event.code}${event.reason ? `: ${event.reason}` : ""}`
        : "refused. Is the webhook enabled, under its limits, and without basic authentication (which browsers cannot send)?";
      tell("about", "·", why);
      if (socket === mine) socket = null;
      draw();
    });
    draw();
  };
  const connect = button("Connect", () => (socket ? socket.close(1000) : open()), { class: "primary" });
  const send = h("button", { type: "submit" }, "Send");
  const submit = (event) => {
    event.preventDefault();
    if (socket?.readyState !== WebSocket.OPEN) return;
    socket.send(values.message);
    tell("out", "→", values.message);
  };
  signal.addEventListener("abort", () => socket?.close(1000));
  put(panel, h("div", { class: "columns" },
    h("form", { class: "card", onsubmit: submit },
      h("h2", {}, "Connection"), path.element,
      h("div", { class: "actions" }, connect, state), h("hr", {}),
      message.element, h("div", { class: "actions end" }, send)),
    h("section", { class: "card" },
      h("div", { class: "heading" }, h("h2", {}, "Messages"), button("Clear", () => put(talk), { class: "small" })), talk)));
  message.control.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit(event);
    }
  });
  draw();
}

function hex(buffer) {
  return Array.from(new Uint8Array(buffer, 0, Math.min(64, buffer.byteLength)), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
