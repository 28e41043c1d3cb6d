// A new token for a webhook: its URL changes, and the old one goes on for a while.

import { ask, paths } from "./api.js";
import { h, put } from "./dom.js";
import { button, dialog, field, notice, select } from "./ui.js";

const GRACES = [["0", "ends at once"], ["3600", "goes on for an hour"], ["86400", "goes on for a day"], ["604800", "goes on for a week"], ["2592000", "goes on for 30 days"]];

/** A button that asks how, and changes the token; `done()` is called then. */
export function tokenButton(app, webhook, done) {
  return button("New URL…", async () => {
    if (await askHow(app, webhook)) await done();
  }, { class: "small" });
}

function askHow(app, webhook) {
  return dialog(`New URL for “${webhook.name}”`, (close) => {
    const grace = field("The old URL", select(GRACES, "86400"), "Callers of the old one are served meanwhile.");
    const given = field("Token", h("input", { autocomplete: "off", spellcheck: "false", class: "mono", maxlength: 128 }), "Empty: one is made. Else 8 to 128 of A–Z, a–z, 0–9, _ and -.");
    const said = h("p", { class: "error", role: "alert" });
    const submit = async (event) => {
      event.preventDefault();
      given.error(null);
      const token = given.control.value.trim();
      if (token !== "" && !/^[A-Za-z0-9_-]{8,128}$/.test(token)) return given.error("It must be 8 to 128 of A–Z, a–z, 0–9, _ and -.");
      try {
        await ask(paths.rotate(app, webhook.id), { method: "POST", body: { graceSeconds: Number(grace.control.value), ...(token === "" ? {} : { token }) } });
        notice("The webhook has a new URL.");
        close(true);
      } catch (error) {
        if (error.field === "token" || error.status === 409) given.error(error.message);
        else put(said, error.message);
      }
    };
    return h("form", { onsubmit: submit, novalidate: true }, grace.element, given.element, said,
      h("div", { class: "actions end" }, button("Cancel", () => close(false)), h("button", { type: "submit", class: "primary" }, "Change it")));
  });
}
