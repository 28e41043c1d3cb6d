// Uses the console as a person would, from the first sign-in to the last deletion.

import { flowIsAdded, flowIsEditedAsJson, flowIsWorkedInItsPicture, layoutsHold } from "./flows.mjs";
import { admin, api, check, complaints, end, expectingErrors, fill, follow, judge, otherPage, page, press, see, server, step, token, until } from "./person.mjs";
import { callsAreSeen, connectionsAreSeen, walk } from "./records.mjs";

const url = () => page.locator("#url").textContent();
const heading = (name) => page.getByRole("heading", { name, exact: true, level: 1 }).waitFor();
let called = "";
let application = "";

await step("a stranger is asked for the token, and a wrong one is refused with what to do", async () => {
  await page.goto("/");
  await heading("Sign in");
  await judge("sign-in");
  await fill("Access token", "not-the-access-token");
  await expectingErrors(async () => {
    await press("Sign in");
    await see("does not take this access token");
  });
  check(await page.getByLabel("Access token").inputValue() === "not-the-access-token", "what was typed is kept");
  check(!(await page.content()).includes("any more"), "a token that never was taken is not said to be taken no more");
  check((await page.getByLabel("Access token").getAttribute("aria-invalid")) === "true", "the field is marked");
  check(await page.evaluate(() => sessionStorage.length === 0), "a wrong token is not kept");
});

await step("the right token opens the console, and is neither in the address nor outlives the tab", async () => {
  await fill("Access token", token);
  await press("Sign in");
  await heading("Overview");
  check(!page.url().includes(token), "the address has no token");
  check(await page.evaluate((secret) => !JSON.stringify(localStorage).includes(secret) && document.cookie === "", token), "only the tab keeps it");
});

await step("a link that is opened in a tab of its own stays signed in", async () => {
  const other = await otherPage();
  await other.goto("/#/tokens");
  await other.getByRole("heading", { name: "Access tokens", exact: true, level: 1 }).waitFor();
  await other.close();
});

await step("an application is added", async () => {
  await follow("Applications");
  await press("Add Application");
  await fill("Name", "Shop");
  await press("Add", page.getByRole("dialog"));
  await see("is there");
  await judge("applications");
  await follow("Shop");
  await heading("Webhooks");
  application = page.url().match(/#\/a\/([0-9a-f]{24})\//)[1];
  await see("No webhooks yet");
  await judge("webhooks-empty");
});

await step("a webhook needs a name, and nothing else", async () => {
  await follow("Add Webhook");
  await heading("Add Webhook");
  await press("Add Webhook");
  await see("It needs a name");
  for (const text of ["200 by default", "No span of this length", "Off by default"]) check((await page.content()).includes(text), `the form explains: ${text}`);
  await judge("webhook-new", async () => page.locator("details:not([open]) > summary").evaluateAll((all) => all.forEach((one) => one.click())));
  await fill("Name", "orders");
  await press("Add Webhook");
  await heading("orders");
});

await step("its URL is copied and can be called", async () => {
  called = await url();
  await press("Copy URL");
  await see("is on the clipboard");
  check(await page.evaluate(() => navigator.clipboard.readText()) === called, "the clipboard holds the URL");
  const response = await fetch(called, { method: "POST", body: "{\"value\": 30}", headers: { "content-type": "application/json" } });
  check(response.status === 200 && (await response.json()).success, "it answers");
  // Its page opens on its calls: this one is there.
  await page.locator(".calls .call").first().waitFor();
  await follow("Call it");
  await see("1 of 100 used");
  await see("nothing happens");
  await judge("webhook-call");
});

await flowIsAdded();

await step("the page's own reader of JSON takes what the browser takes, and nothing else", async () => {
  const differing = await page.evaluate(async () => {
    const { jsonError } = await import("/console/json_error.js");
    const { pretty, textAt } = await import("/console/json.js");
    const text = "{\"a\": [1, -2.5e+3, true, null, \"x\\u00e9\\n\", {}], \"b\": {\"c\": []}, \"d\": \"\"}";
    const signs = ["", "\"", "{", "}", "[", "]", ",", ":", "1", "e", "\\", "-", ".", "0", " ", "\n", "t"];
    const wrong = [];
    const compare = (one) => {
      let isJson = true;
      try {
        JSON.parse(one);
      } catch {
        isJson = false;
      }
      if ((jsonError(one) === null) !== isJson) wrong.push(one);
      else if (isJson && JSON.stringify(JSON.parse(pretty(one))) !== JSON.stringify(JSON.parse(one))) wrong.push(pretty(one));
    };
    for (let at = 0; at <= text.length; at += 1) {
      for (const sign of signs) {
        compare(text.slice(0, at) + sign + text.slice(at));
        compare(text.slice(0, at) + sign + text.slice(at + 1));
        compare(text.slice(0, at) + sign);
      }
    }
    if (textAt("{\"x\": {\"n\": [0, 1.00]}}", "x", "n", 1) !== "1.00") wrong.push("textAt");
    return wrong;
  });
  check(differing.length === 0, differing.slice(0, 3).join("\n"));
});

await layoutsHold();

await flowIsEditedAsJson();

await flowIsWorkedInItsPicture(application);

await step("a webhook is edited, and what is wrong is said at its field", async () => {
  await page.goto(`/#/a/${application}/webhooks`);
  await follow("orders");
  await follow("Settings");
  await fill("Response code", "99");
  await fill("Calls in a window", "many");
  await fill("User name", "{{#if");
  await press("Save");
  await see("It must be a whole number from 200 to 599.");
  await see("3 fields are not right; they are marked.");
  for (const label of ["Response code", "Calls in a window", "User name"]) {
    check((await page.getByLabel(label, { exact: true }).getAttribute("aria-invalid")) === "true", `${label} is marked, too`);
  }
  await fill("Calls in a window", "");
  await fill("User name", "");
  await fill("Response code", "202");
  for (const [sender, code] of [["twilio", "200"], ["fitbit", "204"]]) {
    await page.getByLabel("Sender").selectOption(sender);
    const fixed = page.getByLabel("Response code");
    check(await fixed.isDisabled(), `${sender} prescribes the status`);
    check((await fixed.inputValue()) === code, `${sender} prescribes ${code}`);
    await see(`Always ${code} for`);
  }
  await page.getByLabel("Sender").selectOption("none");
  check((await page.getByLabel("Response code").inputValue()) === "202", "what was typed is still there");
  await page.getByText("Limits", { exact: true }).first().waitFor();
  await fill("Password", "{{#if");
  await press("Save");
  await until("the field is marked", async () => (await page.getByLabel("Password", { exact: true }).getAttribute("aria-invalid")) === "true");
  await judge("webhook-settings");
  await fill("Password", "");
  await page.getByLabel("Wait for reply from workflow").check();
  await fill("Description", "of the shop");
  await press("Save");
  await see("Saved");
});

await step("the Test tab sends a real request and shows the reply and what the flow got", async () => {
  await follow("Test");
  await fill("Path and query", "/up?location=52");
  await fill("Body", "{\"value\": 30");
  await see(/Line 1, column 13/);
  await fill("Body", "{\"value\": 30.50}");
  await press("Add a header");
  await fill("Name of header 1", "X-Shop");
  await fill("Value of header 1", "yes");
  await press("Send Test Request");
  await page.locator("#test-status").waitFor();
  const result = await page.locator("#main").textContent();
  check(/20[02]/.test(await page.locator("#test-status").textContent()), "it was answered");
  for (const text of ["ok", "\"location\": \"52\"", "\"x-shop\": \"yes\"", "/up", "30.50"]) check(result.includes(text), `the result shows ${text}`);
  await judge("webhook-test");
});

await step("a reload comes back to the same place with what was typed", async () => {
  const before = page.url();
  await page.reload();
  await heading("orders");
  check(page.url() === before, "the address is the same");
  check(await page.getByLabel("Path and query").inputValue() === "/up?location=52", "the draft is there");
});

await step("a form survives the server's restart", async () => {
  await follow("Settings");
  await fill("Description", "typed while it was away");
  await expectingErrors(async () => {
    await server("stop");
    await press("Save");
    await see("The server cannot be reached");
    check(await page.getByLabel("Description").inputValue() === "typed while it was away", "the form is as it was");
    await server("start");
    await until("the notice goes", async () => (await page.locator("#lost").count()) === 0);
  });
  await press("Save");
  await see("Saved");
  const kept = await api("GET", `/applications/${application}/webhooks?filter=orders&filterField=name`);
  check(kept.items[0].description === "typed while it was away", "it was saved");
});

await step("a token that is taken no more asks for the present one, and a form keeps what was typed", async () => {
  await fill("Description", "typed before the sign-in");
  await expectingErrors(async () => {
    await page.evaluate(() => sessionStorage.setItem("tidegate.token", "an-older-access-token"));
    await press("Save");
    await see("does not take this access token any more");
  });
  await fill("Access token", token);
  await press("Sign in");
  await heading("orders");
  check(await page.getByLabel("Description").inputValue() === "typed before the sign-in", "the draft is there");
  await press("Discard it");
  check(await page.getByLabel("Description").inputValue() === "typed while it was away", "a draft can be discarded");
});

await step("globals are kept, checked, and tell what uses them", async () => {
  await follow("Globals");
  await press("Add a global");
  await fill("Key 1", "secret");
  await page.getByLabel("Type of key 1").selectOption("json");
  await fill("Value of key 1", "{\"a\": }");
  await see(/Line 1, column 7/);
  await fill("Value of key 1", "\"s3cret\"");
  await press("Add a global");
  await fill("Key 2", "rate");
  await page.getByLabel("Type of key 2").selectOption("number");
  await fill("Value of key 2", "12.50");
  await press("Save");
  await see("Saved. Templates");
  check((await page.getByLabel("Value of secret", { exact: true }).getAttribute("type")) === "password", "a secret is masked");
  await page.getByRole("button", { name: "Show the value of secret" }).click();
  check((await page.getByLabel("Value of secret", { exact: true }).inputValue()) === "s3cret", "and shown when that is asked for");
  const globals = (await api("GET", `/applications/${application}`)).globals;
  check(globals[1].json === "12.50", `a number keeps its digits: ${globals[1].json}`);
  const [webhook] = (await api("GET", `/applications/${application}/webhooks`)).items;
  await api("PATCH", `/applications/${application}/webhooks/${webhook.id}`, { verificationCode: "{{globals.secret}}" });
  await page.reload();
  await see("Used by");
  await judge("globals");
});

await step("the list finds, orders and pages what is many", async () => {
  for (let number = 0; number < 120; number += 1) {
    await api("POST", `/applications/${application}/webhooks`, { name: `device ${String(number).padStart(3, "0")}`, isWebsocket: number % 7 === 0, enabled: number % 11 !== 0 });
  }
  await page.goto(`/#/a/${application}/webhooks`);
  await page.reload();
  await see("1–50 of 121");
  await page.getByRole("button", { name: "Last page" }).click();
  await see("101–121 of 121");
  await page.reload();
  await see("101–121 of 121");
  await page.getByRole("searchbox").fill("device 11");
  await see("1–10 of 10");
  await page.getByRole("searchbox").fill("");
  await see("1–50 of 121");
  await page.getByRole("combobox", { name: "Order" }).selectOption("name desc");
  await page.locator("tbody tr").first().getByText("orders").waitFor();
  await judge("webhooks");
  await page.getByRole("button", { name: "Disable orders" }).click();
  await page.getByRole("button", { name: "Enable orders" }).click();
  await page.getByRole("button", { name: "Disable orders" }).waitFor();
});

await step("the list is searched by anything, narrowed, ordered as people order, and several are changed at once", async () => {
  const made = [];
  for (const name of ["Zebra", "apple 10", "Apple 2", "élan"]) made.push(await api("POST", `/applications/${application}/webhooks`, { name }));
  await page.goto(`/#/a/${application}/webhooks`);
  await page.reload();
  await see("1–50 of 125");
  const names = () => page.locator("tbody th a").allTextContents();
  check(JSON.stringify((await names()).slice(0, 3)) === JSON.stringify(["Apple 2", "apple 10", "device 000"]), `the order is ${(await names()).slice(0, 3)}`);
  for (const [text, found] of [[made[0].id, "Zebra"], [made[1].token.slice(0, 10), "apple 10"], [`${called.slice(0, called.lastIndexOf("/"))}/${made[3].token}`, "élan"], ["ZEBRA", "Zebra"]]) {
    await page.getByRole("searchbox").fill(text);
    await until(`${text} finds ${found}`, async () => (await names()).join() === found);
  }
  await page.getByRole("searchbox").fill("");
  await page.getByRole("combobox", { name: "Type" }).selectOption("socket");
  await see("1–18 of 18");
  await page.getByRole("combobox", { name: "State" }).selectOption("disabled");
  await see("1–2 of 2");
  await page.getByLabel("Mark all of this page").check();
  await press("Enable them");
  await see("2 webhooks are enabled.");
  await see("No webhook fits.");
  await press("Show all");
  for (const name of ["Zebra", "apple 10", "Apple 2", "élan"]) {
    await page.getByRole("searchbox").fill(name);
    await until(`${name} is found`, async () => (await names()).join() === name);
    await page.getByLabel(`Mark ${name}`, { exact: true }).check();
    await press("Delete them…");
    await press("Delete", page.getByRole("dialog"));
    await see("1 webhook is deleted.");
  }
  await page.getByRole("searchbox").fill("");
  await see("1–50 of 121");
});

await step("a webhook gets another token, and the old one goes on", async () => {
  const one = (await api("GET", `/applications/${application}/webhooks?filter=device*118&filterField=name`)).items[0];
  await page.goto(`/#/a/${application}/webhooks/${one.id}/call`);
  const before = await url();
  await press("New URL…");
  const dialog = page.getByRole("dialog");
  await fill("Token", "short", dialog);
  await press("Change it", dialog);
  await see("It must be 8 to 128", dialog);
  await judge("webhook-token");
  await fill("Token", "a-token-of-my-own-118", dialog);
  await press("Change it", dialog);
  await see("The webhook has a new URL.");
  await until("the URL is the new one", async () => (await url()).endsWith("a-token-of-my-own-118"));
  check((await fetch(before, { method: "POST" })).status === 200, "the old one goes on");
  await page.goto(`/#/a/${application}/webhooks`);
});

await step("a webhook is deleted without its flows, and with them", async () => {
  const flow = (await api("GET", `/applications/${application}/flows`)).items[0];
  const second = await api("POST", `/applications/${application}/webhooks`, { name: "zz second" });
  await api("PATCH", `/applications/${application}/flows/${flow.id}`, { triggers: [...flow.triggers, { type: "webhook", key: second.id, outputIds: [["reply-1"]] }] });
  await page.getByRole("searchbox").fill("zz second");
  await page.getByRole("button", { name: "Delete zz second" }).click();
  const dialog = page.getByRole("dialog");
  await see("It triggers one flow:", dialog);
  await see("answer", dialog);
  check(!(await dialog.getByLabel("Also delete its flows").isChecked()), "flows stay unless that is asked for");
  await judge("webhook-delete");
  await page.keyboard.press("Escape");
  await until("the dialog goes", async () => (await dialog.count()) === 0);
  await page.getByRole("button", { name: "Delete zz second" }).click();
  await see("It triggers one flow:", dialog);
  await press("Delete Webhook", dialog);
  await see("“zz second” is deleted.");
  check((await api("GET", `/applications/${application}/flows`)).totalCount === 1, "the flow is still there");
  await page.getByRole("searchbox").fill("orders");
  await page.getByRole("button", { name: "Delete orders" }).click();
  await see("It triggers one flow:", dialog);
  await dialog.getByLabel("Also delete its flows").check();
  await press("Delete Webhook", dialog);
  await see("and its flows with it");
  check((await api("GET", `/applications/${application}/flows`)).totalCount === 0, "the flow is gone");
  check((await fetch(called)).status === 404, "the URL is gone");
});

await step("a webhook of a known sender says what to paste, and its sample is sent signed", async () => {
  await page.goto(`/#/a/${application}/webhooks/new`);
  await heading("Add Webhook");
  await page.getByLabel("Who calls it", { exact: true }).selectOption("stripe");
  await see("Stripe shows it (whsec_…)");
  await judge("webhook-preset");
  await page.getByLabel("Who calls it", { exact: true }).selectOption("github");
  await fill("Name", "gh");
  const secret = await page.getByLabel("Secret", { exact: true }).inputValue();
  check(/^[0-9a-f]{64}$/.test(secret), "a secret is made");
  await press("Add Webhook");
  await see("At GitHub");
  await see(secret);
  await judge("webhook-steps");
  await follow("Open the webhook");
  await heading("gh");
  // The page before has the same heading, and may be there for a moment more.
  await page.getByText("At GitHub").waitFor({ state: "detached" });
  check(!(await page.content()).includes(secret), "the secret is shown once");
  await follow("Test");
  await press("Fill in a sample of GitHub");
  await judge("webhook-test-signed");
  await press("Send Test Request");
  await page.locator("#test-status", { hasText: "200" }).waitFor();
  await page.getByLabel("Sign it as its sender does").uncheck();
  await press("Send Test Request");
  await page.locator("#test-status", { hasText: "401" }).waitFor();
});

await step("the charts move as requests come", async () => {
  const [webhook] = (await api("GET", `/applications/${application}/webhooks?filter=device*001&filterField=name`)).items;
  await api("PATCH", `/applications/${application}/webhooks/${webhook.id}`, { limits: { requestsPerWindow: 20 } });
  const target = `${called.slice(0, called.lastIndexOf("/"))}/${webhook.token}`;
  await page.goto("/#/");
  await heading("Overview");
  const total = async () => Number((await page.locator(".tile", { hasText: "requests in this span" }).locator(".value").textContent()).replace(/\D/g, ""));
  const before = await total();
  for (let call = 0; call < 60; call += 1) await fetch(target, { method: "POST", body: "x" });
  await until("the requests are counted", async () => (await total()) >= before + 60);
  await until("throttles are counted", async () => Number((await page.locator(".tile", { hasText: "throttled in this span" }).locator(".value").textContent())) >= 40);
  check((await page.locator("polyline").count()) > 0, "lines are drawn");
  check((await page.locator(".chart svg[aria-label*='requests']").first().getAttribute("aria-label")).includes("now"), "a chart says what it shows");
  await page.getByRole("combobox", { name: "Span" }).selectOption("3600");
  await until("the hour is shown", async () => (await total()) >= before + 60);
  // What a card, a legend and a table say of one thing is one figure; ticks are round.
  const p99 = await page.evaluate(() => {
    const having = (selector, text) => [...document.querySelectorAll(selector)].find((one) => one.textContent.includes(text));
    return [having(".tile", "p99, latest").querySelector(".value").textContent, having(".legend li", "p99 ").querySelector("strong").textContent];
  });
  check(p99[0] === p99[1] && p99[0] !== "–", `p99 is ${p99}`);
  const ticks = await page.locator(".chart .labels .value").allTextContents();
  check(ticks.every((one) => /^(\d+(\.\d)?|[\d,]+|0|\d+ (µs|ms|s))$/.test(one)), `ticks are ${ticks}`);
  const clocks = await page.locator(".chart .labels .time").allTextContents();
  check(clocks.every((one) => /^([01]\d|2[0-3]):[0-5]\d(:[0-5]0)?$/.test(one)), `times are ${clocks}`);
  await see("Times are in");
  await page.locator(".chart svg").first().focus();
  await page.keyboard.press("ArrowLeft");
  check((await page.locator(".chart .cursor").count()) === 1, "the arrow keys read a chart");
  await judge("overview");
});

await step("an application is renamed, and deleted by its name only", async () => {
  await follow("Applications");
  await heading("Applications");
  await press("Add Application");
  await fill("Name", "Passing");
  await press("Add", page.getByRole("dialog"));
  await page.getByRole("button", { name: "Edit Passing" }).click();
  await fill("Name", "Gone");
  await press("Save", page.getByRole("dialog"));
  await page.getByRole("button", { name: "Delete Gone" }).click();
  const dialog = page.getByRole("dialog");
  await press("Delete", dialog);
  await see("This is not its name.", dialog);
  await fill("Type its name to delete it", "Gone", dialog);
  await press("Delete", dialog);
  await see("“Gone” is deleted.");
  await page.goto("/#/a/0123456789abcdef01234567/webhooks");
  await expectingErrors(async () => {
    await page.reload();
    await see("Application was not found");
    await judge("not-shown");
  });
  await follow("Overview");
});

await step("an access token is made, shown once, takes its rights, and is revoked", async () => {
  await follow("Tokens");
  await heading("Access tokens");
  await press("Add Token");
  const dialog = page.getByRole("dialog");
  await fill("Name", "dashboard", dialog);
  await judge("token-new");
  await press("Add", dialog);
  await see("It is shown this once");
  const made = await page.locator("#token-made code").textContent();
  await judge("tokens");
  const asked = (method) => fetch(`${admin}/applications`, { method, headers: { authorization: `Bearer ${made}` }, body: method === "POST" ? "{}" : undefined });
  check((await asked("GET")).status === 200, "it reads");
  check((await asked("POST")).status === 403, "it does not write");
  await page.getByRole("button", { name: "Revoke dashboard" }).click();
  await press("Revoke", dialog);
  await see("“dashboard” is revoked.");
  check((await asked("GET")).status === 401, "it is refused");
  await follow("Overview");
  await heading("Overview");
});

await step("a node of a cluster shows it", async () => {
  check(!(await page.getByRole("link", { name: "Cluster", exact: true }).isVisible()), "a server alone has no such page");
  const node = (id, more) => ({ id, process: id, self: false, name: `host-${id.slice(-1)}`, version: "0.1.0", state: "serving", since: new Date(Date.now() - 90_000).toISOString(), adoptedBy: null, status: null, ...more });
  const ids = [1, 2, 3].map((number) => `6b0ed78d308abf746d1b68e${number}`);
  const status = {
    ready: true, connected: true, lease: true, model: { current: true, revision: 7, behind: 0, failure: null },
    journal: { isWritable: true, openTriggers: 12, openBytes: 34_567, oldest: new Date(Date.now() - 5_000).toISOString() },
    rates: { webhooks: 3, tokens: 45, waitSeconds: { p50: 0.001, p99: 0.004 } }, adoptions: { triggers: 9, unreadable: 1 },
  };
  await page.route("**/settings", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), isClusterNode: true } });
  });
  await page.route("**/cluster?all=true", (route) => route.fulfill({ json: {
    name: "shop", node: ids[0], ...status, monitor: [["a", "always"], ["b", "later"], ["c", "unknown"]].map(([name, syncs]) => ({ url: `http://nats-${name}:8222`, syncs })),
    nodes: [node(ids[0], { self: true, status }), node(ids[1], {}), node(ids[2], { state: "dead", adoptedBy: ids[0] })],
  } }));
  await page.reload();
  await follow("Cluster");
  await heading("Cluster");
  for (const text of ["this node", "12 open", "45 tokens of 3 webhooks", "9 triggers", "1 unreadable", "does not answer", "acked before it is synced", "synced before it is acked", `host-1 ${ids[0]}`]) await see(text);
  await judge("cluster");
  await page.unroute("**/settings");
  await page.unroute("**/cluster?all=true");
  await follow("Overview");
});

await step("the keyboard leads through the page", async () => {
  await page.reload();
  await heading("Overview");
  const before = page.url();
  await page.keyboard.press("Tab");
  check(await page.evaluate(() => document.activeElement.textContent) === "Skip to the content", "the first stop skips the navigation");
  await page.keyboard.press("Enter");
  check(await page.evaluate(() => document.activeElement.id) === "main", "it leads to the content");
  check(page.url() === before, "and stays on the page");
});

await step("the theme can be chosen and is kept", async () => {
  await page.locator("#theme").click();
  await page.locator("#theme").click();
  check(await page.evaluate(() => document.documentElement.dataset.theme) === "dark", "dark is chosen");
  await page.reload();
  await heading("Overview");
  check(await page.evaluate(() => document.documentElement.dataset.theme) === "dark", "dark is kept");
  await page.locator("#theme").click();
});

const [socket] = (await api("GET", `/applications/${application}/webhooks?filter=device*000&filterField=name`)).items;

await step("the page of a WebSocket webhook shows how to connect", async () => {
  await api("PATCH", `/applications/${application}/webhooks/${socket.id}`, { enabled: true });
  await page.goto(`/#/a/${application}/webhooks/${socket.id}`);
  await see("new WebSocket");
  check((await url()).startsWith("ws://"), "its URL is a WebSocket's");
  await judge("socket-call");
  await follow("Test");
  await see("Not connected.");
  await judge("socket-test");
});

await step("messages go both ways over a WebSocket", async () => {
  await api("POST", `/applications/${application}/flows`, {
    name: "echo", triggers: [{ type: "webhook", key: socket.id, outputIds: [["say"]] }],
    nodes: [{ id: "say", type: "WebhookReplyNode", config: { bodyTemplate: "got {{data.message.data}}", isWebsocketMessage: true } }],
  });
  await press("Connect");
  await see("Connected.");
  await fill("Message", "ping 1");
  await press("Send");
  await see("got ping 1");
  await press("Disconnect");
  await see("closed with 1000");
});

const base = called.slice(0, called.lastIndexOf("/"));
await connectionsAreSeen(application, socket, base);
await callsAreSeen(application, base);
await walk(application, base);

await step("an address that cannot be read leads to the page that says so", async () => {
  for (const address of [`/#/a/%/webhooks`, `/#/%E0%A4%A`, `/#/a/${application}/webhooks/%zz`, "/#/nowhere"]) {
    await page.goto(address);
    await heading("Nothing here");
  }
  await follow("To the overview");
  await heading("Overview");
});

await step("the guide is there, without a script", async () => {
  await page.goto("/guide");
  await page.getByRole("heading", { name: "The guide", level: 1 }).waitFor();
  await judge("guide");
  await page.getByRole("link", { name: "Flows", exact: true }).first().click();
  await page.getByRole("heading", { name: "Conditions" }).waitFor();
  await judge("guide-flows");
  check((await page.locator("script").count()) === 0, "no script is on it");
  await page.goto("/");
  await heading("Overview");
});

await step("who signs out is forgotten", async () => {
  await press("Sign out");
  await heading("Sign in");
  check(await page.evaluate(() => sessionStorage.length === 0), "nothing is kept");
});

check(complaints.length === 0, complaints.join("\n"));
console.log(`every step was taken on ${admin}`);
await end();
