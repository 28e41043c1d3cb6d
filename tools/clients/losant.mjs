// What the npm package losant-rest can do against a running server:
//   node losant.mjs <folder of install> <url of the admin listener> <access token> [<folder of the package>]
// Exits with an error at the first thing that is not as that client's users expect it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, url, accessToken, generation = 'node'] = process.argv.slice(2);
const entry = createRequire(join(folder, generation, 'package.json')).resolve('losant-rest');
// An ES module from 3.0 on, and before that what a CommonJS module exports.
const losant = await import(pathToFileURL(entry)).then((module) => module.default ?? module);
const client = losant.createClient({ accessToken, url });

/** Asserts that a call fails as the client's errors do. */
async function fails(promise, statusCode, type, message) {
  const error = await promise.then(() => assert.fail('it did not fail'), (error) => error);
  assert.ok(error instanceof Error);
  assert.equal(error.statusCode, statusCode, error.message);
  assert.equal(error.type, type);
  assert.match(error.message, message);
}

const name = `npm ${Date.now()}`;
const application = await client.applications.post({
  application: { name, description: 'An application', globals: [{ key: 'code', json: '"s3cret"' }] },
});
const applicationId = application.id;
assert.match(applicationId, /^[0-9a-f]{24}$/);
assert.equal(application.applicationId, applicationId);
assert.ok(!Number.isNaN(Date.parse(application.creationDate)));
assert.deepEqual(application.globals, [{ key: 'code', json: '"s3cret"' }]);
assert.equal((await client.application.get({ applicationId })).name, name);
const found = await client.applications.get({ filterField: 'name', filter: 'npm *' });
assert.ok(found.items.some((item) => item.id === applicationId));
const changed = await client.application.patch({
  applicationId,
  application: { description: 'Changed', globals: [{ key: 'code', json: '"other"' }, { key: 'n', json: '[1,2]' }] },
});
assert.equal(changed.description, 'Changed');
assert.equal(changed.name, name);
assert.equal(changed.globals.length, 2);

const webhooks = [];
for (const letter of ['c', 'a', 'b']) {
  webhooks.push(await client.webhooks.post({
    applicationId,
    webhook: { name: `hook ${letter}`, verificationType: 'fitbit', verificationCode: '{{globals.code}}', responseCode: 202 },
  }));
}
const [webhook] = webhooks;
assert.equal(webhook.webhookId, webhook.id);
assert.equal(webhook.token.length, 40);
assert.equal(webhook.waitForReply, false);
const page = await client.webhooks.get({
  applicationId, sortField: 'name', sortDirection: 'desc', perPage: 2, page: 0, filterField: 'name', filter: 'hook *',
});
assert.deepEqual(page.items.map((item) => item.name), ['hook c', 'hook b']);
assert.deepEqual(
  [page.count, page.totalCount, page.perPage, page.page, page.sortField, page.sortDirection, page.filter],
  [2, 3, 2, 0, 'name', 'desc', 'hook *'],
);
assert.equal(page.applicationId, applicationId);
const second = await client.webhooks.get({ applicationId, sortField: 'name', sortDirection: 'desc', perPage: 2, page: 1 });
assert.deepEqual(second.items.map((item) => item.name), ['hook a']);
const patched = await client.webhook.patch({
  applicationId, webhookId: webhook.id, webhook: { ...webhook, name: 'renamed', verificationType: 'none', waitForReply: true },
});
assert.deepEqual([patched.name, patched.token, patched.waitForReply], ['renamed', webhook.token, true]);
assert.deepEqual(await client.webhook.get({ applicationId, webhookId: webhook.id }), patched);

const exported = JSON.parse(readFileSync(new URL('flow.json', import.meta.url), 'utf8'));
exported.triggers[0].key = webhook.id;
const flow = await client.flows.post({ applicationId, flow: exported });
assert.notEqual(flow.id, exported.id);
assert.equal(flow.flowId, flow.id);
assert.deepEqual(flow.triggers[0].meta, exported.triggers[0].meta);
assert.deepEqual(flow.nodes[0].meta, exported.nodes[0].meta);
assert.deepEqual(flow.nodes[0].outputIds, exported.nodes[0].outputIds);
assert.equal(flow.flowClass, 'cloud');
const byTrigger = async (key) =>
  (await client.flows.get({ applicationId, flowClass: 'cloud', triggerFilter: [{ type: 'webhook', key }] })).items;
assert.deepEqual((await byTrigger(webhook.id)).map((item) => item.id), [flow.id]);
assert.deepEqual(await byTrigger(webhooks[1].id), []);
const off = await client.flow.patch({ applicationId, flowId: flow.id, flow: { enabled: false } });
assert.deepEqual([off.enabled, off.name], [false, 'Exported']);
assert.deepEqual(await client.flow.get({ applicationId, flowId: flow.id }), off);

// Globals, one by its key.
const globals = await client.application.globals({ applicationId, globals: [{ key: 'one', json: '1' }, { key: 'n', json: null }] });
assert.deepEqual(globals.globals, [{ key: 'code', json: '"other"' }, { key: 'one', json: '1' }]);

// Lists that are narrowed.
const queried = async (query) => (await client.flows.get({ applicationId, query })).items.map((item) => item.name);
assert.deepEqual(await queried({ name: { $startsWith: 'Exp' } }), ['Exported']);
assert.deepEqual(await queried({ $nor: [{ name: 'Exported' }] }), []);
await fails(client.flows.get({ applicationId, query: { colour: 'red' } }), 400, 'Validation', /colour/);
assert.deepEqual((await client.flows.get({ applicationId, flowClass: 'edge' })).items, []);
assert.equal((await client.webhooks.get({ applicationId, filter: 'nothing' })).totalCount, 3);
assert.ok((await client.applications.get({ sortField: 'ownerId', summaryInclude: 'webhookCount' })).totalCount >= 1);

// Versions of a flow.
const ofFlow = { applicationId, flowId: flow.id };
const version = await client.flowVersions.post({ ...ofFlow, flowVersion: { version: 'v1', notes: 'first', globals: [{ key: 'g', json: '1' }] } });
assert.deepEqual([version.version, version.notes, version.flowId, version.nodes], ['v1', 'first', flow.id, flow.nodes]);
const ofVersion = { ...ofFlow, flowVersionId: version.id };
assert.deepEqual(await client.flowVersion.get(ofVersion), version);
assert.deepEqual(await client.flowVersion.get({ ...ofFlow, flowVersionId: 'v1' }), version);
assert.equal((await client.flowVersion.patch({ ...ofVersion, flowVersion: { notes: 'changed' } })).notes, 'changed');
assert.deepEqual((await client.flowVersions.get(ofFlow)).items.map((item) => item.id), [version.id]);
assert.deepEqual((await client.flows.getByVersion({ applicationId, version: 'v1' })).items.map((item) => item.id), [version.id]);
await fails(client.flowVersions.post({ ...ofFlow, flowVersion: { version: 'v1' } }), 409, 'Conflict', /allowReplacement/);
const replaced = await client.flowVersions.post({ ...ofFlow, allowReplacement: true, flowVersion: { version: 'v1', nodes: [], triggers: [] } });
assert.deepEqual([replaced.id, replaced.nodes], [version.id, []]);
assert.equal((await client.flow.patch({ ...ofFlow, flow: { defaultVersionId: version.id } })).defaultVersionId, version.id);
await fails(client.flowVersion.delete(ofVersion), 400, 'Validation', /defaultVersionId/);
await client.flow.patch({ ...ofFlow, flow: { defaultVersionId: null } });

// What was read is imported.
const read = await client.flow.get(ofFlow);
const imported = await client.flows.import({ applicationId, importData: { flows: [read], flowVersions: [await client.flowVersion.get(ofVersion)] } });
const [copy] = imported.flows;
assert.deepEqual(imported.importedFlowIdMap, { [flow.id]: copy.id });
assert.deepEqual(imported.importedVersionIdMap, { [version.id]: imported.flowVersions[0].id });
assert.equal(imported.flowVersions[0].flowId, copy.id);
for (const field of ['name', 'triggers', 'nodes', 'globals', 'iconData', 'minimumAgentVersion', 'enabled', 'flowClass']) {
  assert.deepEqual(copy[field], read[field], field);
}
assert.deepEqual(await client.flow.delete({ applicationId, flowId: copy.id }), { success: true });
assert.deepEqual(await client.flowVersion.delete(ofVersion), { success: true });
await fails(client.flowVersion.get(ofVersion), 404, 'NotFound', /version/);

// What a flow did lately.
const stats = await client.flow.stats({ ...ofFlow, duration: 3600000 });
assert.ok(stats.metrics.length >= 1 && stats.metrics.every((row) => row.runCount === 0 && row.pathsFailed === 0));
assert.deepEqual((await client.flow.errors({ ...ofFlow, limit: 5 })).errors, []);

// An export goes into another application.
const { url: bundleUrl } = await client.application.export({ applicationId, options: { includeFiles: false } });
const bundle = await fetch(bundleUrl).then((response) => response.text());
const other = await client.applications.post({ application: { name: 'copy' } });
const filled = await client.application.import({ applicationId: other.id, importBundle: bundle });
assert.deepEqual([filled.id, filled.globals], [other.id, globals.globals]);
assert.equal((await client.webhooks.get({ applicationId: other.id })).totalCount, 3);
assert.deepEqual((await client.flows.get({ applicationId: other.id })).items.map((item) => item.nodes), [flow.nodes]);
await client.application.delete({ applicationId: other.id });

// Every method of the client for these resources is offered, and called above or below, or says that it is not.
const OFFERED = {
  applications: ['get', 'post'], application: ['get', 'patch', 'delete', 'globals', 'export', 'import'],
  webhooks: ['get', 'post'], webhook: ['get', 'patch', 'delete'],
  flows: ['get', 'getByVersion', 'import', 'post'], flow: ['get', 'patch', 'delete', 'errors', 'stats'],
  flowVersions: ['get', 'post'], flowVersion: ['get', 'patch', 'delete'],
};
let notOffered = 0;
for (const [resource, offered] of Object.entries(OFFERED)) {
  for (const method of Object.keys(client[resource]).filter((name) => !offered.includes(name))) {
    const call = client[resource][method]({
      ...ofVersion, webhookId: webhook.id, importBundle: Buffer.from('x'), start: '0', end: '1', topic: 't', filter: 'f',
    });
    if (method.endsWith('Stream')) await assert.rejects(call, `${resource}.${method}`);
    else await fails(call, 404, 'NotFound', /^not offered here$/);
    notOffered += 1;
  }
}
assert.ok(notOffered >= 20, `${notOffered}`);

await fails(client.webhooks.post({ applicationId, webhook: {} }), 400, 'Validation', /name/);
await fails(client.webhooks.post({ applicationId, webhook: { name: 'x', colour: 1 } }), 400, 'Validation', /colour/);
await fails(client.webhook.get({ applicationId, webhookId: '0'.repeat(24) }), 404, 'NotFound', /./);
await fails(client.application.get({ applicationId }, { accessToken: 'wrong' }), 401, 'Unauthorized', /./);
const foreign = { ...exported, nodes: [{ id: 'a', type: 'LatchNode', config: {} }] };
await fails(client.flows.post({ applicationId, flow: foreign }), 400, 'Validation', /LatchNode/);

assert.deepEqual(await client.flow.delete({ applicationId, flowId: flow.id }), { success: true });
assert.deepEqual(await client.webhook.delete({ applicationId, webhookId: webhook.id }), { success: true });
await fails(client.webhook.get({ applicationId, webhookId: webhook.id }), 404, 'NotFound', /./);
assert.deepEqual(await client.application.delete({ applicationId }), { success: true });
await fails(client.application.get({ applicationId }), 404, 'NotFound', /./);
console.log('ok');
