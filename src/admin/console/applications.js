// The applications: what webhooks, flows and globals belong to.

import { ask, paths } from "./api.js";
import { h, put } from "./dom.js";
import { link } from "./router.js";
import { button, dialog, empty, field, heading, moment, notice, table } from "./ui.js";

export async function applicationsPage(view) {
  const { main, applications } = view;
  const edit = async (one) => {
    if (await editDialog(one)) await view.reload();
  };
  const remove = async (one) => {
    if (await deleteDialog(one)) await view.reload();
  };
  const head = ["Name", "Id", "Globals", "Made", ""].map((text) =>
    h("th", { scope: "col" }, text || h("span", { class: "hidden" }, "Actions")));
  const row = (one) => h("tr", {},
    h("th", { scope: "row" }, h("a", { href: link(one.id, "webhooks") }, one.name),
      one.description ? h("div", { class: "quiet clip" }, one.description) : null),
    h("td", { "data-label": "Id" }, h("code", {}, one.id)),
    h("td", { "data-label": "Globals" }, one.globals.length),
    h("td", { class: "nowrap", "data-label": "Made" }, moment(one.creationDate)),
    h("td", { class: "right nowrap" },
      button("Edit", () => edit(one), { class: "small", "aria-label": `Edit ${one.name}` }), " ",
      button("Delete", () => remove(one), { class: "small danger", "aria-label": `Delete ${one.name}` })));
  put(main,
    heading("Applications", button("Add Application", () => edit(null), { class: "primary" })),
    applications.length === 0
      ? empty("No applications yet. One holds webhooks, the flows that they trigger, and globals for templates.")
      : table("Applications", head, h("tbody", {}, applications.map(row)), "cards"));
}

function editDialog(one) {
  return dialog(one ? `Edit “${one.name}”` : "Add Application", (close) => {
    const name = field("Name", h("input", { required: true, maxlength: 255, value: one?.name ?? "", autofocus: true }));
    const description = field("Description", h("textarea", { maxlength: 32767, value: one?.description ?? "" }));
    const submit = async (event) => {
      event.preventDefault();
      const body = { name: name.control.value.trim(), description: description.control.value };
      if (body.name === "") return name.error("Give it a name.");
      try {
        await ask(one ? paths.application(one.id) : paths.applications(), { method: one ? "PATCH" : "POST", body });
        notice(one ? "Saved." : `“${body.name}” is there.`);
        close(true);
      } catch (error) {
        name.error(error.message);
      }
    };
    return h("form", { onsubmit: submit, novalidate: true }, name.element, description.element,
      h("div", { class: "actions end" }, button("Cancel", () => close(false)),
        h("button", { type: "submit", class: "primary" }, one ? "Save" : "Add")));
  });
}

function deleteDialog(one) {
  return dialog(`Delete “${one.name}”?`, (close) => {
    const said = h("p", { class: "error", role: "alert" });
    const typed = field("Type its name to delete it", h("input", { autocomplete: "off" }));
    const confirm = button("Delete", async () => {
      if (typed.control.value !== one.name) return typed.error("This is not its name.");
      try {
        await ask(paths.application(one.id), { method: "DELETE" });
        notice(`“${one.name}” is deleted.`);
        close(true);
      } catch (error) {
        put(said, error.message);
      }
    }, { class: "danger" });
    return [
      h("p", {}, "All of its webhooks, flows and globals go with it. Their URLs stop working at once."),
      typed.element, said,
      h("div", { class: "actions end" }, button("Cancel", () => close(false)), confirm),
    ];
  });
}
