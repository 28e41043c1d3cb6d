// Flows in the console: added from a webhook, worked on as a picture and as JSON, tried with a call.

import { api, check, expectingErrors, fill, follow, judge, page, press, see, step, until } from "./person.mjs";

const heading = (name) => page.getByRole("heading", { name, exact: true, level: 1 }).waitFor();
const part = (name) => page.getByRole("button", { name, exact: true }).first();

/** Adds a node behind an output, by the + in the picture. */
export async function addBehind(name, type) {
  await part(`Add a node behind ${name}`).click();
  await page.locator(".graph-menu").getByRole("button", { name: new RegExp(`^${type}`) }).click();
}

export async function flowIsAdded() {
  await step("a flow that replies is added from the webhook's page, with a preview", async () => {
    await follow("Add a flow");
    await heading("Add Flow");
    check(await page.getByLabel("Name", { exact: true }).inputValue() === "orders", "it has the webhook's name");
    await fill("Name", "answer");
    const offered = async () => {
      await part("Add a node behind orders").click();
      const names = await page.locator(".graph-menu button").allTextContents();
      await page.keyboard.press("Escape");
      return names;
    };
    check((await offered()).some((name) => name.startsWith("NATS")) && (await nodeTypes()).includes("NatsNode"), "what runs here is offered");
    // A server whose build has no such node.
    await page.route("**/settings", async (route) => {
      const response = await route.fetch();
      const json = await response.json();
      await route.fulfill({ response, json: { ...json, nodeTypes: json.nodeTypes.filter((type) => type !== "NatsNode") } });
    });
    await page.reload();
    check(!(await offered()).some((name) => name.startsWith("NATS")), "nothing else is");
    await page.unroute("**/settings");
    await page.reload();
    await addBehind("orders", "Reply");
    await fill("Body", "{\"n\": {{data.body.value}}}");
    await see("{\"n\": 30}");
    await fill("Body", "{{#if");
    await see(/It must be a template: line 1/);
    check((await page.getByLabel("Body", { exact: true }).getAttribute("aria-invalid")) === "true", "the field is marked");
    check((await page.locator(".vertex.wrong").count()) === 1, "its node is marked in the picture");
    await judge("flow-new");
    await fill("Body", "{\"ok\": true}");
    await press("Add Flow");
    await see("Nobody waits for this reply");
    await judge("flow-offers-to-wait");
    await press("Make callers wait");
    await heading("answer");
    check((await api("GET", `/applications/${application()}/webhooks?filter=orders&filterField=name`)).items[0].waitForReply, "its callers wait now");
  });
}

const application = () => page.url().match(/#\/a\/([0-9a-f]{24})\//)[1];
const nodeTypes = async () => (await api("GET", "/settings")).nodeTypes;

export async function flowIsEditedAsJson() {
  await step("a flow's JSON shows what is wrong with it at its place", async () => {
    await follow("JSON");
    const area = page.getByLabel("The flow as JSON");
    const text = await area.inputValue();
    await area.fill(text.replace("\"enabled\": true,", "\"enabled\": true"));
    await see(/Line \d+, column \d+/);
    await press("Go to the place");
    check(await area.evaluate((one) => document.activeElement === one && one.selectionStart > 0), "the text cursor is there");
    await area.fill(text.replace("\"enabled\": true,", "\"enabled\": 5,"));
    await expectingErrors(async () => {
      await press("Save");
      await see("`enabled`");
    });
    const chosen = await area.evaluate((one) => one.value.slice(one.selectionStart, one.selectionEnd));
    check(chosen.startsWith("\"enabled\": 5"), `the fault is marked, not ${chosen}`);
    await judge("flow-edit");
    await area.fill(text);
    await press("Save");
    await see("Saved");
    // A version that keeps none answers 404, which the browser tells.
    await expectingErrors(async () => {
      await follow("Dead letters");
      await see(/No deliveries are kept in this version|No dead letters/);
      await judge("flow-dead-letters");
    });
    await follow("Flows");
    await heading("Flows");
    await judge("flows");
  });
}

/** Any graph, circles included, is laid out with nothing on anything else, and nothing outside. */
export async function layoutsHold() {
  await step("a layout has no part on another, and axes have round marks", async () => {
    const wrong = await page.evaluate(async () => {
      const { NODE, layout } = await import("/console/flow_layout.js");
      const { decades, quarters } = await import("/console/chart.js");
      let seed = 7;
      const random = (below) => {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
        return seed % below;
      };
      const found = [];
      for (let round = 0; round < 60; round += 1) {
        const count = 1 + random(24);
        const vertices = [{ key: "t:0", trigger: {}, index: 0 }, ...Array.from({ length: count }, (_, index) => ({ key: `n:${index}`, node: {}, index }))];
        const edges = Array.from({ length: random(count * 2) }, () => ({ from: vertices[random(count + 1)].key, output: random(2), to: `n:${random(count)}` })).filter((edge) => edge.from !== edge.to);
        for (const isWide of [true, false]) {
          const { places, wires, width, height } = layout({ vertices, edges }, isWide);
          const all = [...places.values()];
          if (all.length !== vertices.length || wires.length !== edges.length) found.push(`round ${round}: a part is lost`);
          if (all.some(({ x, y }) => !(x >= 0 && y >= 0 && x + NODE.width <= width && y + NODE.height <= height))) found.push(`round ${round}: a part is outside`);
          if (all.some((one, at) => all.some((other, place) => place > at && Math.abs(one.x - other.x) < NODE.width && Math.abs(one.y - other.y) < NODE.height))) found.push(`round ${round}: parts overlap`);
        }
      }
      for (let round = 0; round < 300; round += 1) {
        const most = random(1_000_000) / 10 ** random(7);
        const { marks } = quarters([most], false);
        if (marks.length > 7 || marks.at(-1) < most || marks.some((mark) => String(mark).replace(/[.0]/g, "").length > 2)) found.push(`marks of ${most}: ${marks}`);
        if (decades([most || 1]).marks.some((mark) => !/^0?\.?0*10*$/.test(String(mark)) && !/^1e[-+]?\d+$/.test(String(mark)))) found.push(`decades of ${most}`);
      }
      return found;
    });
    check(wrong.length === 0, wrong.slice(0, 3).join("\n"));
  });
}

/** Drags from the middle of one part to that of another. */
async function drag(from, to) {
  const middle = async (one) => {
    let box = null;
    // A picture that is drawn again has other elements.
    await until("the part stands still", async () => {
      await one.scrollIntoViewIfNeeded().catch(() => {});
      box = await one.boundingBox().catch(() => null);
      return box !== null;
    });
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const start = await middle(from);
  const end = await middle(to);
  await page.mouse.move(...start);
  await page.mouse.down();
  await page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, { steps: 4 });
  await page.mouse.move(...end, { steps: 4 });
  await page.mouse.up();
}

export async function flowIsWorkedInItsPicture(app) {
  const nodes = async () => {
    const flow = (await api("GET", `/applications/${app}/flows?filter=answer&filterField=name`)).items[0];
    return { flow, ids: Object.fromEntries(flow.nodes.map((node) => [node.id, node.outputIds])) };
  };

  await step("a flow is worked on in its picture, by pointer and by keyboard", async () => {
    await follow("answer");
    await heading("answer");
    await addBehind("orders", "Condition");
    await fill("Expression", "{{data.body.value}} >");
    await see(/It must be an expression/);
    await fill("Expression", "{{data.body.value}} > 10");
    await page.locator(".made", { hasText: "true" }).waitFor();
    // The keyboard: the + of the chosen part, the first of what there is, and back into the picture.
    await page.locator("[data-key='n:condition-1']").focus();
    await page.keyboard.press("+");
    await page.keyboard.press("Enter");
    await until("a second reply is there", async () => (await page.locator("[data-key='n:reply-2']").count()) === 1);
    await fill("Body", "too small");
    await drag(part("Add a node behind Condition · condition-1 (true)"), page.locator("[data-key='n:reply-1']"));
    await until("the two are connected", async () => (await page.getByText(/Wire from Condition · condition-1 \(true\) to Reply · reply-1/).count()) === 1);
    // The direct wire is taken away, in the form of the trigger.
    await page.locator("[data-key='t:0']").click();
    await press("Disconnect Reply · reply-1");
    await press("Undo");
    check((await page.getByText(/Wire from orders to Reply · reply-1/).count()) === 1, "undo brings the wire back");
    await press("Redo");
    check((await page.getByText(/Wire from orders to Reply · reply-1/).count()) === 0, "redo takes it away again");
    await press("Save");
    await see("Saved");
    const { ids, flow } = await nodes();
    check(JSON.stringify(ids["condition-1"]) === "[[\"reply-2\"],[\"reply-1\"]]", `the wires are ${JSON.stringify(ids)}`);
    check(JSON.stringify(flow.triggers[0].outputIds) === "[[\"condition-1\"]]", "the trigger leads to the condition alone");
  });

  await step("a call is run through the picture", async () => {
    await press("Run the call");
    await see("What the call did");
    await page.locator(".vertex.ran[data-key='n:reply-1']").waitFor();
    check((await page.locator(".wire.taken").count()) === 2, "the way is shown");
    check((await page.locator(".vertex.ran[data-key='n:reply-2']").count()) === 0, "the other way is not");
    await page.locator("[data-key='n:reply-1']").click();
    await see("Of the call that was run: reply");
    await judge("flow-run");
    await page.getByText("The payload itself").click();
    const payload = page.getByLabel("Payload", { exact: true });
    await payload.fill((await payload.inputValue()).replace("\"value\": 30", "\"value\": 3"));
    await press("Run the call");
    await page.locator(".vertex.ran[data-key='n:reply-2']").waitFor();
    await page.locator("[data-key='n:condition-1']").click();
    await see("false", page.locator(".ran-box"));
  });

  await step("the picture and the JSON are one document, and parts are moved to and removed by keyboard", async () => {
    await page.locator("[data-key='t:0']").focus();
    await page.keyboard.press("ArrowRight");
    check(await page.evaluate(() => document.activeElement.dataset.key) === "n:condition-1", "the arrow keys lead on");
    await page.keyboard.press("Delete");
    await until("it is gone", async () => (await page.locator("[data-key='n:condition-1']").count()) === 0);
    await follow("JSON");
    check(!(await page.getByLabel("The flow as JSON").inputValue()).includes("ConditionalNode"), "the JSON has it not, either");
    await press("Discard it");
    await until("the draft is gone", async () => (await page.getByLabel("The flow as JSON").inputValue()).includes("ConditionalNode"));
    await follow("Picture");
    await page.locator("[data-key='n:condition-1']").waitFor();
    await press("Add trigger");
    await page.getByLabel("Search webhooks by name").waitFor();
    await page.keyboard.press("Escape");
  });

  await step("a trigger on no webhook is said to start nothing", async () => {
    const lost = await api("POST", `/applications/${app}/flows`, { name: "lost", triggers: [{ type: "webhook", key: "0123456789abcdef01234567" }, { type: "timer" }], nodes: [{ id: "n", type: "AnnotationNode" }] });
    // That the webhook is asked for and is not there, the browser tells.
    await expectingErrors(async () => {
      await page.goto(`/#/a/${app}/flows/${lost.id}`);
      await heading("lost");
      await see("starts nothing", page.locator("#warnings"));
      await page.locator("[data-key='t:0']").click();
      await see("There is no webhook 0123456789abcdef01234567.");
      await judge("flow-lost");
    });
    await api("DELETE", `/applications/${app}/flows/${lost.id}`);
    await page.goto(`/#/a/${app}/flows`);
    await follow("answer");
    await heading("answer");
  });

  // What follows uses the flow as one that answers.
  await step("a node that leads nowhere is removed with its form", async () => {
    await page.locator("[data-key='n:condition-1']").click();
    await press("Remove the node");
    await addBehindOrConnect();
    await press("Save");
    await see("Saved");
  });

  async function addBehindOrConnect() {
    const choice = page.getByLabel("Leads to: add or connect");
    await page.locator("[data-key='t:0']").click();
    await choice.selectOption({ label: "Connect: Reply · reply-1" });
    await until("it leads there", async () => (await page.getByText(/Wire from orders to Reply · reply-1/).count()) === 1);
  }
}
