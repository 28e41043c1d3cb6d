"""Drives the REST API with the client that openapi-python-client makes out of /openapi.json (package `generated`).

Arguments: the URL of the admin listener, the access token, the URL of the ingress.
"""

import http.client
import json
import sys
from urllib.parse import urlsplit

from generated import AuthenticatedClient
from generated.api.default import (
    create_application,
    create_flow,
    create_webhook,
    delete_application,
    get_flow,
    list_webhooks,
    patch_webhook,
    test_webhook,
)
from generated.models import (
    ApplicationPost,
    FlowPost,
    ListWebhooksFilterField,
    TestRequest,
    Trigger,
    WebhookPatch,
    WebhookPost,
    WebhookReplyNode,
    WebhookReplyNodeConfig,
)

admin, token, ingress = sys.argv[1:4]
client = AuthenticatedClient(base_url=admin, token=token, raise_on_unexpected_status=True)


def done(answer):
    assert answer is not None and not type(answer).__name__ == "Error", answer
    return answer


with client:
    application = done(create_application.sync(client=client, body=ApplicationPost(name="generated")))
    webhook = done(
        create_webhook.sync(application.id, client=client, body=WebhookPost(name="in", wait_for_reply=True))
    )
    node = WebhookReplyNode(
        type_="WebhookReplyNode",
        config=WebhookReplyNodeConfig(body_template="hello {{data.body.name}}"),
    )
    flow = done(
        create_flow.sync(
            application.id,
            client=client,
            body=FlowPost(name="out", triggers=[Trigger(type_="webhook", key=webhook.id)], nodes=[node]),
        )
    )
    shown = done(get_flow.sync(application.id, flow.id, client=client))
    assert shown.nodes[0].config.body_template == "hello {{data.body.name}}", shown
    changed = done(
        patch_webhook.sync(application.id, webhook.id, client=client, body=WebhookPatch(response_code=202))
    )
    assert changed.response_code == 202, changed
    listed = done(list_webhooks.sync(application.id, client=client, filter_field=ListWebhooksFilterField.NAME, filter_="in"))
    assert [item.id for item in listed.items] == [webhook.id], listed
    tested = done(
        test_webhook.sync(application.id, webhook.id, client=client, body=TestRequest(body={"name": "test"}))
    )
    assert tested.status_code == 202 and "hello test" in json.dumps(tested.to_dict()), tested

    url = urlsplit(ingress)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    connection.request(
        "POST", f"/webhooks/{webhook.token}", '{"name": "world"}', {"Content-Type": "application/json"}
    )
    response = connection.getresponse()
    assert (response.status, response.read()) == (202, b"hello world")

    refused = create_webhook.sync(application.id, client=client, body=WebhookPost(name=""))
    assert refused.type_ == "Validation" and "name" in refused.message, refused
    done(delete_application.sync(application.id, client=client))
print("done")
