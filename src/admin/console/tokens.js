// The access tokens beside the first one: who may do what, until when.

import { ask, paths } from "./api.js";
import { h, put } from "./dom.js";
import { momentTime } from "./time.js";
import { button, code, dialog, empty, field, heading, notice, table } from "./ui.js";

const RIGHTS = [
  ["read", "Read", "Look at everything."],
  ["write", "Write", "Change everything but tokens, and send test requests."],
  ["worker", "Worker", "Attach to flows as a worker."],
  ["reply", "Reply", "Reply to triggers over the API."],
];

export async function tokensPage(view) {
  const { main, signal } = view;
  const list = await ask(paths.tokens(), { signal });
  const again = () => tokensPage(view);
  const add = button("Add Token", async () => {
    const made = await addDialog();
    if (made === null) return;
    await again();
    main.append(h("section", { class: "card", id: "token-made" }, h("h2", {}, `The token “${made.name}”`),
      h("p", {}, "It is shown this once: only its digest is kept."), code("Access token", made.token)));
  }, { class: "primary" });
  const head = ["Name", "Rights", "Made", "Ends", ""].map((text) =>
    h("th", { scope: "col" }, text || h("span", { class: "hidden" }, "Actions")));
  const row = (one) => h("tr", {},
    h("th", { scope: "row" }, one.name),
    h("td", { "data-label": "Rights" }, one.rights.join(", ")),
    h("td", { class: "nowrap", "data-label": "Made" }, momentTime(one.creationDate)),
    h("td", { class: "nowrap", "data-label": "Ends" }, one.expires === null ? "never" : momentTime(one.expires)),
    h("td", { class: "right" }, button("Revoke", async () => {
      if (await revokeDialog(one)) await again();
    }, { class: "small danger", "aria-label": `Revoke ${one.name}` })));
  put(main,
    heading("Access tokens", add),
    h("p", { class: "help spaced" }, "The first token, in the server's data folder or its settings, may do everything and is not listed here. The log names the token behind every change."),
    list.items.length === 0
      ? empty("No further tokens. Each program that drives this server can have one of its own, with the rights that it needs.")
      : table("Access tokens", head, h("tbody", {}, list.items.map(row)), "cards"));
}

function addDialog() {
  return dialog("Add Token", (close) => {
    const name = field("Name", h("input", { required: true, maxlength: 255, autofocus: true, autocomplete: "off" }), "The log tells tokens apart by it.");
    const rights = RIGHTS.map(([word, label, help]) => [word, field(label, h("input", { type: "checkbox", checked: word === "read" }), help)]);
    const expires = field("Ends", h("input", { type: "date" }), "At the beginning of that day, UTC. Empty: never.");
    const submit = async (event) => {
      event.preventDefault();
      const body = {
        name: name.control.value.trim(),
        rights: rights.filter(([, one]) => one.control.checked).map(([word]) => word),
        expires: expires.control.value === "" ? null : `${expires.control.value}T00:00:00Z`,
      };
      for (const one of [name, expires]) one.error(null);
      if (body.name === "") return name.error("Give it a name.");
      try {
        const made = await ask(paths.tokens(), { method: "POST", body });
        close(made);
      } catch (error) {
        (error.field === "expires" ? expires : name).error(error.message);
      }
    };
    return h("form", { onsubmit: submit, novalidate: true }, name.element,
      h("fieldset", { class: "field" }, h("legend", { class: "minor" }, "Rights"), rights.map(([, one]) => one.element)), expires.element,
      h("div", { class: "actions end" }, button("Cancel", () => close(null)), h("button", { type: "submit", class: "primary" }, "Add")));
  });
}

function revokeDialog(one) {
  return dialog(`Revoke “${one.name}”?`, (close) => {
    const said = h("p", { class: "error", role: "alert" });
    const confirm = button("Revoke", async () => {
      try {
        await ask(paths.token(one.id), { method: "DELETE" });
        notice(`“${one.name}” is revoked.`);
        close(true);
      } catch (error) {
        put(said, error.message);
      }
    }, { class: "danger" });
    return h("div", {}, h("p", {}, "It is refused from then on. Workers that are attached with it stay until they reconnect."), said,
      h("div", { class: "actions end" }, button("Cancel", () => close(false)), confirm));
  });
}
