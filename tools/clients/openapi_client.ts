// Drives the REST API with openapi-fetch over the types that openapi-typescript makes out of /openapi.json. It is checked
// by the TypeScript compiler before it runs: what the document says of the API is what it may do.
// Arguments: the URL of the admin listener, the access token, the URL of the ingress.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[]; exit(code: number): never };

const [admin, token, ingress] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths>({ baseUrl: admin, headers: { Authorization: `Bearer ${token}` } });

function check(isTrue: boolean, what: unknown): asserts isTrue {
  if (!isTrue) {
    console.error(JSON.stringify(what));
    process.exit(1);
  }
}

function done<T>(answer: { data?: T; error?: unknown }): T {
  check(answer.data !== undefined, answer.error);
  return answer.data as T;
}

const application = done(await client.POST("/applications", { body: { name: "generated" } }));
const applicationId = application.id;
const params = { path: { applicationId } };
const webhook = done(
  await client.POST("/applications/{applicationId}/webhooks", { params, body: { name: "in", waitForReply: true } }),
);
const node: components["schemas"]["WebhookReplyNode"] = {
  type: "WebhookReplyNode",
  config: { bodyTemplate: "hello {{data.body.name}}" },
};
const flow = done(
  await client.POST("/applications/{applicationId}/flows", {
    params,
    body: { name: "out", triggers: [{ type: "webhook", key: webhook.id }], nodes: [node] },
  }),
);
const shown = done(
  await client.GET("/applications/{applicationId}/flows/{flowId}", { params: { path: { applicationId, flowId: flow.id } } }),
);
check(shown.nodes?.[0]?.type === "WebhookReplyNode", shown);
const ofWebhook = { path: { applicationId, webhookId: webhook.id } };
const changed = done(
  await client.PATCH("/applications/{applicationId}/webhooks/{webhookId}", { params: ofWebhook, body: { responseCode: 202 } }),
);
check(changed.responseCode === 202, changed);
const listed = done(
  await client.GET("/applications/{applicationId}/webhooks", {
    params: { ...params, query: { filterField: "name", filter: "in" } },
  }),
);
check(listed.items.length === 1 && listed.items[0]?.id === webhook.id, listed);
const response = await fetch(`${ingress}/webhooks/${webhook.token}`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ name: "world" }),
});
check(response.status === 202 && (await response.text()) === "hello world", response.status);
const refused = await client.POST("/applications/{applicationId}/webhooks", { params, body: { name: "" } });
check(refused.error?.type === "Validation", refused);
done(await client.DELETE("/applications/{applicationId}", { params }));
console.log("done");
