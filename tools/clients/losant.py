"""What the PyPI package losant-rest can do against a running server:
    python3 losant.py <folder of install> <url of the admin listener> <access token>
Exits with an error at the first thing that is not as that client's users expect it.
"""
import json
import os
import sys

folder, url, access_token = sys.argv[1:]
sys.path.insert(0, os.path.join(folder, "python"))

from losant_rest import Client, LosantError  # noqa: E402 (it is found only now)

client = Client(auth_token=access_token, url=url)


def same(got, expected):
    """Asserts that two values are equal, and shows them where they are not."""
    if got != expected:
        raise AssertionError("%r is not %r" % (got, expected))


def fails(call, status, kind, word):
    """Asserts that a call fails as the client's errors do."""
    try:
        call()
    except LosantError as error:
        same((error.status, error.data["type"]), (status, kind))
        assert word in error.data["message"], error.data
    else:
        raise AssertionError("it did not fail")


application = client.applications.post(application={
    "name": "PyPI application", "globals": [{"key": "code", "json": "\"s3cret\""}]})
app = {"applicationId": application["id"]}
same(application["applicationId"], application["id"])
same(application["globals"], [{"key": "code", "json": "\"s3cret\""}])
same(client.application.get(**app)["name"], "PyPI application")
found = client.applications.get(filterField="name", filter="PyPI *")
assert application["id"] in [item["id"] for item in found["items"]]
changed = client.application.patch(application={"description": "Changed", "globals": []}, **app)
same((changed["name"], changed["description"], changed["globals"]), ("PyPI application", "Changed", []))

webhooks = [client.webhooks.post(webhook={
    "name": "hook " + letter, "verificationType": "twilio", "responseCode": 202,
    "basicAuthUsername": "user", "basicAuthPassword": "pass"}, **app) for letter in "cab"]
webhook = webhooks[0]
same(webhook["basicAuthPassword"], "pass")
same(len(webhook["token"]), 40)
page = client.webhooks.get(sortField="name", sortDirection="desc", perPage=2, page=0,
                           filterField="name", filter="hook ?", **app)
same([item["name"] for item in page["items"]], ["hook c", "hook b"])
same([page[key] for key in ("count", "totalCount", "perPage", "page", "sortField", "sortDirection", "filter")],
     [2, 3, 2, 0, "name", "desc", "hook ?"])
second = client.webhooks.get(sortField="name", sortDirection="desc", perPage=2, page=1, **app)
same([item["name"] for item in second["items"]], ["hook a"])
patched = client.webhook.patch(webhookId=webhook["id"], webhook=dict(webhook, name="renamed"), **app)
same((patched["name"], patched["token"]), ("renamed", webhook["token"]))
same(client.webhook.get(webhookId=webhook["id"], **app), patched)

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "flow.json"), encoding="utf-8") as file:
    exported = json.load(file)
exported["triggers"][0]["key"] = webhook["id"]
flow = client.flows.post(flow=exported, **app)
same(flow["triggers"][0]["meta"], exported["triggers"][0]["meta"])
same(flow["nodes"][0]["meta"], exported["nodes"][0]["meta"])
same(flow["nodes"][0]["outputIds"], exported["nodes"][0]["outputIds"])
of_webhook = {"flowClass": "cloud", "triggerFilter": [{"type": "webhook", "key": webhook["id"]}]}
same([item["id"] for item in client.flows.get(**dict(app, **of_webhook))["items"]], [flow["id"]])
of_webhook["triggerFilter"][0]["key"] = webhooks[1]["id"]
same(client.flows.get(**dict(app, **of_webhook))["items"], [])
off = client.flow.patch(flowId=flow["id"], flow={"enabled": False}, **app)
same((off["enabled"], off["name"]), (False, "Exported"))
same(client.flow.get(flowId=flow["id"], **app), off)

changed = client.application.globals(globals=[{"key": "one", "json": "1"}], **app)
same(changed["globals"], [{"key": "one", "json": "1"}])
same([item["name"] for item in client.flows.get(query={"name": {"$contains": "port"}}, **app)["items"]], ["Exported"])
same(client.flows.get(query={"enabled": True}, **app)["items"], [])
fails(lambda: client.flows.get(query={"colour": 1}, **app), 400, "Validation", "colour")
same(client.webhooks.get(filter="nothing", **app)["totalCount"], 3)
assert client.applications.get(sortField="ownerId")["totalCount"] >= 1

of_flow = dict(app, flowId=flow["id"])
version = client.flow_versions.post(flowVersion={"version": "v1"}, **of_flow)
same((version["version"], version["nodes"]), ("v1", flow["nodes"]))
of_version = dict(of_flow, flowVersionId=version["id"])
same(client.flow_version.get(**of_version), version)
same(client.flow_version.patch(flowVersion={"notes": "n"}, **of_version)["notes"], "n")
same([item["id"] for item in client.flow_versions.get(**of_flow)["items"]], [version["id"]])
same([item["id"] for item in client.flows.get_by_version(version="v1", **app)["items"]], [version["id"]])
read = client.flow.get(**of_flow)
imported = client.flows.api_import(importData={
    "flows": [read], "flowVersions": [client.flow_version.get(**of_version)]}, **app)
copy = imported["flows"][0]
same(imported["importedFlowIdMap"], {flow["id"]: copy["id"]})
same([copy[field] for field in ("triggers", "nodes", "globals")], [read[field] for field in ("triggers", "nodes", "globals")])
same(client.flow.delete(flowId=copy["id"], **app), {"success": True})
same(client.flow_version.delete(**of_version), {"success": True})

assert client.flow.stats(duration=3600000, **of_flow)["metrics"]
same(client.flow.errors(**of_flow)["errors"], [])
assert "/exports/" in client.application.export(options={}, **app)["url"]

OFFERED = {
    "applications": ["get", "post"], "application": ["get", "patch", "delete", "globals", "export"],
    "webhooks": ["get", "post"], "webhook": ["get", "patch", "delete"],
    "flows": ["get", "get_by_version", "api_import", "post"], "flow": ["get", "patch", "delete", "errors", "stats"],
    "flow_versions": ["get", "post"], "flow_version": ["get", "patch", "delete"],
}
not_offered = 0
for resource, offered in OFFERED.items():
    methods = [name for name in dir(getattr(client, resource)) if not name.startswith("_") and name != "client"]
    for method in methods:
        if method not in offered:
            call = getattr(getattr(client, resource), method)
            fails(lambda: call(webhookId=webhook["id"], **of_version), 404, "NotFound", "not offered here")
            not_offered += 1
assert not_offered >= 20, not_offered

fails(lambda: client.webhooks.post(webhook={}, **app), 400, "Validation", "name")
fails(lambda: client.webhooks.post(webhook={"name": "x", "colour": 1}, **app), 400, "Validation", "colour")
fails(lambda: client.webhook.get(webhookId="0" * 24, **app), 404, "NotFound", "")
fails(lambda: Client(auth_token="wrong", url=url).application.get(**app), 401, "Unauthorized", "")
foreign = dict(exported, nodes=[{"id": "a", "type": "LatchNode", "config": {}}])
fails(lambda: client.flows.post(flow=foreign, **app), 400, "Validation", "LatchNode")

same(client.webhook.delete(webhookId=webhook["id"], includeWorkflows=True, **app), {"success": True})
fails(lambda: client.flow.get(flowId=flow["id"], **app), 404, "NotFound", "")
same(client.application.delete(**app), {"success": True})
fails(lambda: client.application.get(**app), 404, "NotFound", "")
print("ok")
