// What a person at a browser does, and how it is checked: shared by the steps of drive.mjs.

import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import readline from "node:readline";

const modules = process.env.CONSOLE_MODULES;
const required = createRequire(path.join(modules, "package.json"));
const { chromium } = required("playwright-core");
const axe = await readFile(required.resolve("axe-core/axe.min.js"), "utf8");

export const admin = process.env.CONSOLE_ADMIN;
export const token = process.env.CONSOLE_TOKEN;
const screens = process.env.CONSOLE_SCREENS;

/** How long a thing may take to be seen. Far more than it takes: a slow machine is no failure. */
const PATIENCE_MS = 20_000;

const browser = await chromium.launch({
  executablePath: process.env.CONSOLE_CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    // A page that is put together here is of no network, and may not call the ingress otherwise.
    ...(process.env.CONSOLE_FILES ? ["--disable-features=LocalNetworkAccessChecks"] : []),
  ],
});
const context = await browser.newContext({ baseURL: admin, viewport: { width: 1280, height: 860 }, permissions: ["clipboard-read", "clipboard-write"] });
context.setDefaultTimeout(PATIENCE_MS);
export const page = await context.newPage();
/** Another page of the same browser, with the storage of its own. */
export const otherPage = () => context.newPage();

// The console's files from the tree instead of from the program, so that a change of them needs no build.
const files = process.env.CONSOLE_FILES;
if (files) {
  await context.route(/\/console\/[^/]+$/, async (route) => {
    const response = await route.fetch();
    // One that the program makes is not there.
    const own = path.join(files, path.basename(new URL(route.request().url()).pathname));
    const body = existsSync(own) ? await readFile(own, "utf8") : await response.text();
    await route.fulfill({ response, body, status: 200, headers: { ...response.headers(), "content-type": /\.css$/.test(route.request().url()) ? "text/css" : /\.svg$/.test(route.request().url()) ? "image/svg+xml" : "text/javascript" } });
  });
  await context.route(new URL("/", admin).href, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: await readFile(path.join(files, "index.html"), "utf8") });
  });
}

/** What the browser complained of: the policy, broken modules, errors that nobody caught. */
export const complaints = [];
let isExpectingErrors = false;
page.on("console", (message) => {
  // A refusal that a step provokes is told by the browser, too.
  if (message.type() === "error" && !isExpectingErrors) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(String(error)));

/** Does something in which requests may fail, as they should. */
export async function expectingErrors(work) {
  isExpectingErrors = true;
  try {
    return await work();
  } finally {
    isExpectingErrors = false;
  }
}

export async function step(name, work) {
  try {
    await work();
  } catch (error) {
    await page.screenshot({ path: screens ? path.join(screens, "failed.png") : undefined, fullPage: true });
    console.log(`FAILED ${name}\n${error.stack}\nat ${page.url()}\ncomplaints: ${complaints.join("\n")}`);
    await browser.close();
    process.exit(1);
  }
  if (complaints.length > 0) {
    console.log(`FAILED ${name}: the browser complained\n${complaints.join("\n")}`);
    await browser.close();
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

export function check(holds, what) {
  if (!holds) throw new Error(`this does not hold: ${what}`);
}

/** Waits until something is so. */
export async function until(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    if (await look()) return;
    if (Date.now() > end) throw new Error(`never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits for an element that has this text. */
export function see(text, within = page) {
  return within.getByText(text).first().waitFor();
}

export function press(name, within = page) {
  return within.getByRole("button", { name, exact: true }).first().click();
}

export function follow(name, within = page) {
  return within.getByRole("link", { name, exact: true }).first().click();
}

export function fill(label, text, within = page) {
  return within.getByLabel(label, { exact: true }).first().fill(text);
}

/** Asks the REST API. */
export async function api(method, target, body) {
  const response = await fetch(admin + target, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const json = await response.json();
  if (!response.ok) throw new Error(`${method} ${target}: ${response.status} ${json.message}`);
  return json;
}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the test stop or start the server. */
export async function server(what) {
  console.log(what);
  const { value } = await lines.next();
  check(value === "done", `the server did ${what}`);
}

/** What was found wrong with how pages look: all of it is told, since one page's faults do not hinder the next. */
const ugly = [];

function judged(holds, what) {
  if (holds) return;
  ugly.push(what);
  console.log(`FAILED ${what}`);
}

/**
 * Texts whose contrast to what is behind them is below 4.5 (WCAG 2.2, 1.4.3), of those that axe leaves open: texts in drawings,
 * and on colours that are mixed. Runs in the page.
 */
function contrastsBelow(selectors) {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  };
  const over = (top, below) => top.slice(0, 3).map((part, index) => part * top[3] + below[index] * (1 - top[3]));
  const behind = (element) => {
    const plate = element.closest(".texts")?.previousElementSibling?.querySelector(".plate");
    if (plate) return rgba(getComputedStyle(plate).fill).slice(0, 3);
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
    return layers.reduceRight((below, top) => over(top, below), [1, 1, 1]);
  };
  const light = (colour) => colour.map((part) => (part <= 0.040_45 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  return selectors.flatMap((selector) => {
    const element = document.querySelector(selector);
    if (!element || element.disabled || element.closest(":disabled")) return [];
    const style = getComputedStyle(element);
    const ground = behind(element);
    const text = over(rgba(element instanceof SVGElement ? style.fill : style.color), ground);
    const [least, most] = [light(text), light(ground)].sort((one, other) => one - other);
    const ratio = (most + 0.05) / (least + 0.05);
    return ratio < 4.5 ? [`${ratio.toFixed(2)}: ${element.outerHTML.slice(0, 120)}`] : [];
  });
}

/** Shows a page in both themes: no rule of accessibility is broken, it fits 360 pixels; and a picture of it is kept. */
export async function judge(name, prepare = async () => {}) {
  for (const theme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
    await prepare();
    await page.evaluate(`${axe}; undefined`);
    const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    const told = found.violations.map((one) => `${one.id}: ${one.help}\n  ${one.nodes.map((node) => `${node.html}\n  ${node.failureSummary}`).join("\n  ")}`);
    if (screens) await page.screenshot({ path: path.join(screens, `${name}-${theme}.png`), fullPage: true });
    judged(told.length === 0, `${name} in ${theme} is accessible:\n${told.join("\n")}`);
    const open = found.incomplete.filter((one) => one.id === "color-contrast").flatMap((one) => one.nodes.map((node) => node.target[0]));
    const pale = await page.evaluate(contrastsBelow, open.filter((one) => typeof one === "string"));
    judged(pale.length === 0, `${name} in ${theme} has the contrast of 4.5 where axe cannot tell:\n${pale.join("\n")}`);
  }
  await page.setViewportSize({ width: 360, height: 740 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  if (screens) await page.screenshot({ path: path.join(screens, `${name}-narrow.png`), fullPage: true });
  await page.setViewportSize({ width: 1280, height: 860 });
  await page.emulateMedia({ colorScheme: "light" });
  judged(width <= 360, `${name} fits 360 pixels, and is ${width} wide`);
}

export async function end() {
  await browser.close();
  process.exit(ugly.length > 0 ? 1 : 0);
}
