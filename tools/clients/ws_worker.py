"""Python's websockets as a worker and as a WebSocket webhook's client at a time.

Arguments: the worker's URL, the webhook's URL, the access token. The webhook's triggers go to the worker. Exit code 0:
all was as it should be.
"""

import asyncio
import json
import sys

import websockets

SECONDS_MAX = 20


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: expected {wanted}, got {got}")


async def frame(worker, kind):
    frame = json.loads(await asyncio.wait_for(worker.recv(), SECONDS_MAX))
    expect("the frame's type", frame["type"], kind)
    return frame


async def say(worker, **fields):
    await worker.send(json.dumps(fields))


async def main(worker_url, webhook_url, token):
    headers = {"authorization": f"Bearer {token}"}
    attach = websockets.connect(worker_url, subprotocols=["tidegate.worker.v1"], additional_headers=headers)
    async with attach as worker:
        expect("subprotocol", worker.subprotocol, "tidegate.worker.v1")
        await say(worker, type="ready", credit=10)
        client = await websockets.connect(webhook_url + "/door?room=5")
        connect = await frame(worker, "trigger")
        data = connect["payload"]["data"]
        expect("connect", (data["type"], data["message"], data["path"], data["query"]),
               ("connect", {}, "/door", {"room": "5"}))
        expect("seq and attempt", (connect["seq"], connect["attempt"]), (1, 1))
        await say(worker, type="ack", seqs=[1])

        await client.send("knock")
        message = await frame(worker, "trigger")
        expect("message", message["payload"]["data"]["message"], {"data": "knock", "length": 5})
        reply_id = message["payload"]["data"]["replyId"]
        await say(worker, type="reply", replyId=reply_id, body={"who": "there"})
        expect("result", (await frame(worker, "replyResult"))["accepted"], True)
        expect("reply", json.loads(await asyncio.wait_for(client.recv(), SECONDS_MAX)), {"who": "there"})
        await say(worker, type="reply", replyId=reply_id, body="AAH/", encoding="base64")
        await frame(worker, "replyResult")
        expect("bytes", await asyncio.wait_for(client.recv(), SECONDS_MAX), b"\x00\x01\xff")

        await client.close(4000, "bye")
        last = await frame(worker, "trigger")
        expect("disconnect", last["payload"]["data"]["message"], {"statusCode": 4000, "reason": "bye"})
        await say(worker, type="nack", seq=last["seq"])
        again = await frame(worker, "trigger")
        expect("attempt", (again["attempt"], again["payload"]["data"]["type"]), (2, "disconnect"))
        await say(worker, type="ack", seqs=[again["seq"], 77])
        expect("a seq that is not", "77" in (await frame(worker, "error"))["message"], True)
        await say(worker, type="reply", replyId=reply_id, body="too late")
        expect("result", (await frame(worker, "replyResult"))["accepted"], False)
        await say(worker, type="dance")
        await frame(worker, "error")


asyncio.run(main(*sys.argv[1:4]))
