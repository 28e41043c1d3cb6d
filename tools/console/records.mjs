// The calls of a webhook in the console: followed, searched, looked into, sent again; and the walk of a new user.

import { connect } from "node:net";

import { addBehind } from "./flows.mjs";
import { api, check, fill, follow, judge, otherPage, page, press, see, step, until } from "./person.mjs";

const heading = (name) => page.getByRole("heading", { name, exact: true, level: 1 }).waitFor();
const rows = () => page.locator(".calls li");
const callOf = (path) => page.locator(".calls .call", { has: page.locator(".path", { hasText: path }) }).first();

/** The calls of a webhook, on its page. `base` is the URL of webhooks without a token. */
export async function callsAreSeen(app, base) {
  const plain = (await api("GET", `/applications/${app}/webhooks?filter=device*002&filterField=name`)).items[0];
  const target = `${base}/${plain.token}`;
  const call = (path, method = "POST", body = "{\"n\": 7.50}") => fetch(target + path, { method, body, headers: { "content-type": "application/json", authorization: "Basic c2VjcmV0" } });

  await step("a webhook's page opens on its calls, and waits for the first", async () => {
    await page.goto(`/#/a/${app}/webhooks/${plain.id}`);
    await see("No calls yet");
    await see("curl -i");
    await page.getByRole("status").getByText("live", { exact: true }).waitFor();
    await judge("calls-empty");
  });

  await step("a call is seen as it comes, with its body, its payload and its response, although no flow gets it", async () => {
    await call("/first?x=1&y=two");
    await callOf("/first").click();
    await see("\"n\": 7.50");
    await see("two", page.locator(".call-detail"));
    check(!(await page.locator(".call-detail").textContent()).includes("c2VjcmV0"), "a credential is masked");
    await press("Raw");
    await see("{\"n\": 7.50}");
    await press("Hex");
    await see("7b 22 6e 22");
    await page.getByRole("tab", { name: "Payload" }).click();
    await see("\"applicationName\"");
    await page.getByRole("tab", { name: "What happened" }).click();
    await see("No flow got it.");
    await page.keyboard.press("ArrowRight");
    await see("\"success\": true");
    await judge("call");
  });

  await step("calls are held back, searched and narrowed", async () => {
    await press("Pause");
    await call("/second", "PUT", "{\"needle\": 1}");
    await see("1 more came meanwhile");
    check((await callOf("/second").count()) === 0, "what came is held back");
    await press("Resume");
    await callOf("/second").waitFor();
    await page.getByRole("searchbox").fill("needle");
    await until("the body is searched", async () => (await rows().count()) === 1);
    const called = await call("/named", "POST");
    await page.getByRole("searchbox").fill(called.headers.get("x-request-id"));
    await until("the id of a request is searched", async () => (await rows().count()) === 1);
    await callOf("/named").click();
    await see(called.headers.get("x-request-id"), page.locator(".call-detail"));
    await page.getByRole("searchbox").fill("");
    await page.getByRole("combobox", { name: "Method" }).selectOption("POST");
    await until("the method narrows", async () => (await rows().count()) === 2 && (await callOf("/first").count()) === 1);
    await page.getByRole("combobox", { name: "Method" }).selectOption("");
    await until("all are back", async () => (await rows().count()) === 3);
    // Within a millisecond, and equal in all that is shown.
    const { host, hostname, port, pathname } = new URL(target);
    connect(Number(port), hostname).resume().end(`DELETE ${pathname}/again HTTP/1.1\r\nHost: ${host}\r\n\r\n`.repeat(20));
    await until("each of those that are equal is seen", async () => (await page.locator(".calls .path", { hasText: "/again" }).count()) === 20);
    await judge("calls");
  });

  await step("a call is sent again, edited, and as a command", async () => {
    await callOf("/second").click();
    await page.getByRole("tab", { name: "Request" }).click();
    await see("\"needle\": 1");
    await press("Copy as curl");
    await see("The curl command is on the clipboard.");
    const command = await page.evaluate(() => navigator.clipboard.readText());
    check(command.includes("-X PUT") && command.includes("--data-binary '{\"needle\": 1}'") && command.includes("/second"), `the command is ${command}`);
    await press("Replay");
    await see("Sent again: it was answered 200.");
    await page.getByRole("tab", { name: "What happened" }).click();
    await see("It is a replay of");
    await press("this call");
    await page.getByRole("tab", { name: "Request" }).click();
    await see("\"needle\": 1");
    await press("Replay edited");
    check(await page.getByLabel("Path and query").inputValue() === "/second", "the Test tab has the request");
    check(await page.getByLabel("Method").inputValue() === "PUT", "with its method");
    check((await page.getByLabel("Body", { exact: true }).inputValue()).includes("needle"), "and its body");
    await follow("Calls");
    await callOf("/second").waitFor();
    for (const box of await page.locator(".calls input[type=checkbox]").all().then((all) => all.slice(0, 3))) await box.check();
    await press("Replay 3…");
    await press("Replay", page.getByRole("dialog"));
    await see("3 of 3 sent again");
  });

  await step("calls a second are told of a webhook whose rate has no limit, too", async () => {
    await api("PATCH", `/applications/${app}/webhooks/${plain.id}`, { limits: { requestsPerWindow: 0 } });
    for (let number = 0; number < 5; number += 1) await call(`/unlimited/${number}`);
    const figure = page.locator(".figure", { hasText: "calls a second" }).locator(".value");
    await until("there is a figure", async () => Number(await figure.textContent()) > 0);
    check((await page.locator(".figure .sparkline").count()) > 0, "and a line of the last minutes");
    await page.goto(`/#/a/${app}/webhooks?search=device%20002`);
    await until("the list says the same", async () => Number.parseFloat(await page.locator("tbody .rate").first().textContent()) > 0);
    await page.goto(`/#/a/${app}/webhooks/${plain.id}`);
  });

  await step("control characters and characters of direction that a caller sends are shown as escapes", async () => {
    await call("/odd", "POST", JSON.stringify({ text: "a\u202eb\u009bc\u007fd\u2066e\u2028f\u200fg" }));
    await callOf("/odd").click();
    await see("a\\u202eb\\u009bc\\u007fd\\u2066e\\u2028f\\u200fg");
    const shown = await page.locator("body").innerText();
    check(!/[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/.test(shown), "none of them is on the page");
  });

  await step("nothing of the calls is clipped, from 360 to 1,920 pixels", async () => {
    for (const width of [360, 768, 1024, 1440, 1920]) {
      await page.setViewportSize({ width, height: 860 });
      const clipped = await page.evaluate(() => {
        const outside = (one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && one.getBoundingClientRect().width > 0;
        return [...document.querySelectorAll("main *")].filter(outside).map((one) => one.outerHTML.slice(0, 80));
      });
      check(clipped.length === 0, `at ${width}: ${clipped[0]}`);
    }
    await page.setViewportSize({ width: 1280, height: 860 });
  });
}

/** Connections and their messages. `socket` is a WebSocket webhook that echoes. */
export async function connectionsAreSeen(app, socket, base) {
  await step("a WebSocket's connections are rows, with the messages of both directions inside", async () => {
    await page.goto(`/#/a/${app}/webhooks/${socket.id}`);
    const client = await otherPage();
    await client.goto("/");
    await client.evaluate((target) => new Promise((resolve, reject) => {
      globalThis.client = new WebSocket(target);
      globalThis.client.onopen = resolve;
      globalThis.client.onerror = reject;
    }), `${base.replace(/^http/, "ws")}/${socket.token}/room`);
    await client.evaluate(() => globalThis.client.send("ping 7"));
    await callOf("/room").click();
    await see("got ping 7");
    await see("ping 7");
    await judge("connections");
    // The address holds what is chosen.
    await page.reload();
    await see("got ping 7", page.locator(".talk"));
    // Sent from the page, with the Enter of a person who writes on.
    await client.evaluate(() => { globalThis.got = new Promise((resolve) => { globalThis.client.onmessage = ({ data }) => resolve(data); }); });
    await page.getByLabel("Message", { exact: true }).fill("from the console");
    await page.keyboard.press("Control+Enter");
    check((await client.evaluate(() => globalThis.got)) === "from the console", "the client has the message");
    await see("The message is sent.");
    await see("from the console", page.locator(".talk"));
    await until("it is counted in the row", async () => /[34] messages/.test(await callOf("/room").textContent()));
    await client.evaluate(() => { globalThis.end = new Promise((resolve) => { globalThis.client.onclose = ({ code, reason }) => resolve(`${code} ${reason}`); }); });
    await page.getByText("Close it…").click();
    await page.getByLabel("Close code").fill("4000");
    await page.getByLabel("Reason").fill("enough");
    await judge("connection-close");
    await press("Close the connection");
    check((await client.evaluate(() => globalThis.end)) === "4000 enough", "the client has the close");
    await see(/closed with 4000: enough/);
    await until("nothing can be sent any more", async () => (await page.getByLabel("Message", { exact: true }).count()) === 0 || !(await page.getByLabel("Message", { exact: true }).isVisible()));
    await client.close();
  });
}

/** What a new user does first, with as few clicks as it takes. Typing is no click. */
export async function walk(app, base) {
  let clicks = 0;
  const click = async (one) => {
    clicks += 1;
    await one.click();
  };
  const button = (name) => page.getByRole("button", { name, exact: true }).first();

  await step("make a webhook, call it, see the body, branch and forward in the picture, replay the call", async () => {
    await page.goto(`/#/a/${app}/webhooks`);
    await click(page.getByRole("link", { name: "Add Webhook" }).first());
    await fill("Name", "first steps");
    await page.keyboard.press("Enter");
    await heading("first steps");
    const url = await page.locator("#url").textContent();
    await fetch(url, { method: "POST", body: "{\"value\": 42}", headers: { "content-type": "application/json" } });
    await click(callOf("/"));
    await see("\"value\": 42");
    await click(page.getByRole("tab", { name: "What happened" }));
    await click(page.getByRole("link", { name: "Add a flow" }).first());
    await heading("Add Flow");
    clicks += 2;
    await addBehind("first steps", "Condition");
    clicks += 2;
    await addBehind("Condition · condition-1 (true)", "Forward");
    await fill("URL", `${base}/nothing`);
    await click(button("Run the call"));
    await page.locator(".vertex.ran[data-key='n:forward-1']").waitFor();
    await click(button("Add Flow"));
    await heading("first steps");
    await page.goto(`/#/a/${app}/webhooks`);
    await page.getByRole("searchbox").fill("first steps");
    await click(page.getByRole("link", { name: "first steps", exact: true }));
    await click(callOf("/"));
    await click(button("Replay"));
    await see("Sent again: it was answered 200.");
    await click(page.getByRole("tab", { name: "What happened" }));
    await see("first steps", page.locator(".fates"));
    console.log(`the walk of a new user took ${clicks} clicks`);
    check(clicks <= 16, `${clicks} clicks are too many`);
  });
}
