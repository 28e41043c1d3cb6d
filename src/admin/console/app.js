// The console: who may see it, what stands at its top, and which page fills the rest.

import { ApiError, ask, forgetSettings, isAborted, observe, paths, settings } from "./api.js";
import { h, put } from "./dom.js";
import { applicationsPage } from "./applications.js";
import { clusterPage } from "./cluster.js";
import { flowPage, flowsPage } from "./flows.js";
import { globalsPage } from "./globals.js";
import { overviewPage } from "./overview.js";
import { go, link, place } from "./router.js";
import { application, askTabs, tellSignedOut, theme, token } from "./store.js";
import { keepAges, zone } from "./time.js";
import { tokensPage } from "./tokens.js";
import { button, failure, heading, NAMES, select } from "./ui.js";
import { webhookPage } from "./webhook.js";
import { webhooksPage } from "./webhooks.js";

/** How often a server that was lost is looked for. */
const RETRY_MS = 1_500;
/** Applications that the choice at the top offers: one page of their list. */
const CHOICES_MAX = 1_000;

/** For each theme: the one that the button leads to, and what it is called. */
const THEMES = { auto: ["light", "Theme: as the system"], light: ["dark", "Theme: light"], dark: ["auto", "Theme: dark"] };
const THEME_SIGNS = { auto: "◐", light: "☀", dark: "☾" };

const main = document.getElementById("main");
const top = document.getElementById("top");

let leave = new AbortController();
let applications = [];
let lost = false;
let isFirst = true;
/** While a token is tried that somebody typed: that form says what is wrong with it. */
let isTrying = false;

theme.apply();
observe("signedOut", () => {
  if (token.read() === null || isTrying) return;
  token.forget();
  signIn("The server does not take this access token any more. Enter the present one; what you typed is kept.");
});
observe("reachable", (isReachable) => {
  if (isReachable === !lost) return;
  lost = !isReachable;
  lost ? lookForServer() : found();
});
window.addEventListener("hashchange", () => token.read() !== null && show());
// A page that is left gives up what it has asked for, wherever that was asked.
window.addEventListener("unhandledrejection", (event) => {
  if (isAborted(event.reason)) event.preventDefault();
});
// The address says which page this is, so that a link within the page cannot use it.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
start();

async function start() {
  put(document.getElementById("foot"), h("a", { href: "/guide" }, "Guide"), h("span", {}, `Times are in ${zone()}.`));
  keepAges();
  if (token.read() === null && !(await askTabs())) return signIn();
  put(main, h("p", { class: "quiet" }, "Loading…"));
  try {
    await loadApplications();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status !== 401) put(main, failure(error, start));
    return;
  }
  show();
}

async function loadApplications() {
  const list = await ask(paths.applications(), { query: { perPage: CHOICES_MAX } });
  applications = list.items.sort((one, other) => NAMES.compare(one.name, other.name));
}

/** Asks for the access token. */
function signIn(message) {
  leave.abort();
  put(top, brand(), h("div", { class: "grow" }), themeButton());
  const input = h("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true });
  const said = h("p", { class: "error", role: "alert" }, message ?? "");
  const enter = h("button", { type: "submit", class: "primary" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    const given = input.value.trim();
    if (given === "") {
      said.textContent = "Enter the access token.";
      return input.focus();
    }
    // Other characters cannot stand in a header, nor in a token.
    if (!/^[\x21-\x7e]+$/.test(given)) {
      said.textContent = "An access token has visible ASCII characters only. Was something else copied?";
      return input.select();
    }
    enter.disabled = true;
    said.textContent = "";
    token.keep(given);
    isTrying = true;
    try {
      await loadApplications();
      isTrying = false;
      forgetSettings();
      show();
    } catch (error) {
      token.forget();
      put(said, { 401: "The server does not take this access token. Compare it with the file access-token in its data folder.",
        403: "This access token has no right to read, which the console needs." }[error.status] ?? error.message);
      input.setAttribute("aria-invalid", "true");
      input.focus();
      input.select();
    } finally {
      isTrying = false;
      enter.disabled = false;
    }
  };
  document.title = "Sign in – Tidegate";
  put(main, h("form", { class: "card signin", onsubmit: submit },
    h("h1", {}, "Sign in"),
    h("label", { for: "token" }, "Access token"), input, said,
    h("p", { class: "help" },
      "It lies in the server's data folder, in the file access-token, unless TIDEGATE_ACCESS_TOKEN sets it. ",
      "This tab keeps it until it is closed."),
    enter));
  input.focus();
}

function signOut() {
  token.forget();
  tellSignedOut();
  sessionStorage.clear();
  forgetSettings();
  signIn("");
}

/** Shows the page of the address. */
async function show() {
  leave.abort();
  leave = new AbortController();
  const at = place();
  const chosen = at.app ?? application.read();
  const known = applications.find((one) => one.id === chosen);
  const current = known ?? (at.app === null ? applications[0] : undefined);
  if (current) application.keep(current.id);
  const view = {
    app: current?.id ?? at.app,
    application: current,
    applications,
    parts: at.parts,
    query: at.query,
    main,
    signal: leave.signal,
    reload: async () => {
      await loadApplications();
      await show();
    },
  };
  drawTop(at, view.app);
  const page = choose(at);
  try {
    await page(view);
  } catch (error) {
    if (isAborted(error) || view.signal.aborted) return;
    if (!(error instanceof ApiError)) throw error;
    if (error.status !== 401) put(main, heading("Not shown"), failure(error, show));
  }
  // Whoever follows a link by keyboard or hears the page is led to its beginning; the first page is not a move.
  if (!isFirst && !view.signal.aborted && !main.contains(document.activeElement)) {
    (main.querySelector("h1") ?? main).focus({ preventScroll: true });
  }
  isFirst = false;
}

function choose(at) {
  const isOne = at.parts.length > 0;
  switch (at.section) {
    case "": return overviewPage;
    case "applications": return applicationsPage;
    case "webhooks": return isOne ? webhookPage : webhooksPage;
    case "flows": return isOne ? flowPage : flowsPage;
    case "globals": return globalsPage;
    case "tokens": return tokensPage;
    case "cluster": return clusterPage;
    default: return async () => {
      put(main, heading("Nothing here"), h("p", {}, "This address leads nowhere. ", h("a", { href: "#/" }, "To the overview")));
    };
  }
}

function brand() {
  return h("a", { class: "brand", href: "#/" },
    h("img", { src: "/console/icon.svg", alt: "", width: "22", height: "22" }), "Tidegate");
}

function drawTop(at, app) {
  const inApplication = (section, text) =>
    app ? h("a", { href: link(app, section), "aria-current": at.section === section ? "page" : null }, text) : null;
  const chooser = applications.length === 0 ? null : select(
    applications.map((one) => [one.id, one.name]), app,
    { "aria-label": "Application", onchange: (event) => go(link(event.target.value, sectionFor(at))) });
  const cluster = h("a", { href: "#/cluster", hidden: true, "aria-current": at.section === "cluster" ? "page" : null }, "Cluster");
  // Without an answer there is nothing to lead to; the page says that the server is away.
  settings().then((about) => { cluster.hidden = !about.isClusterNode; }, () => {});
  put(top, brand(),
    h("nav", { "aria-label": "Console" },
      h("a", { href: "#/", "aria-current": at.section === "" ? "page" : null }, "Overview"),
      inApplication("webhooks", "Webhooks"), inApplication("flows", "Flows"), inApplication("globals", "Globals"),
      h("a", { href: "#/applications", "aria-current": at.section === "applications" ? "page" : null }, "Applications"),
      h("a", { href: "#/tokens", "aria-current": at.section === "tokens" ? "page" : null }, "Tokens"), cluster),
    h("div", { class: "grow" }), chooser, themeButton(), button("Sign out", signOut, { class: "small" }));
}

/** Another application is looked at in the same section; its webhooks are not those of the one before. */
function sectionFor(at) {
  return ["webhooks", "flows", "globals"].includes(at.section) ? at.section : "webhooks";
}

function themeButton() {
  const made = button("", () => {
    theme.keep(THEMES[theme.read()]?.[0] ?? "auto");
    theme.apply();
    draw();
  }, { class: "small", id: "theme" });
  const draw = () => {
    const now = theme.read() in THEMES ? theme.read() : "auto";
    made.textContent = THEME_SIGNS[now];
    made.title = THEMES[now][1];
    made.setAttribute("aria-label", THEMES[now][1]);
  };
  draw();
  return made;
}

/** The server was lost: says so until it is found again. Forms stay as they are. */
function lookForServer() {
  if (document.getElementById("lost")) return;
  document.getElementById("notices").append(h("div", { class: "notice error", id: "lost" },
    h("span", {}, "The server cannot be reached. This page looks for it; what you typed stays.")));
  const look = async () => {
    if (!lost) return;
    const answered = await fetch("/healthz", { cache: "no-store" }).then((response) => response.ok, () => false);
    if (!answered) return setTimeout(look, RETRY_MS);
    lost = false;
    found();
  };
  setTimeout(look, RETRY_MS);
}

function found() {
  document.getElementById("lost")?.remove();
  forgetSettings();
  // What could not be shown is asked for again; a page that is there is left alone, with all that was typed.
  main.querySelector(".failure button")?.click();
}
