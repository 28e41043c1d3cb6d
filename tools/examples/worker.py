"""A worker of a flow: answers every request with its own body, and counts what comes without one waiting.

    pip install websockets
    TIDEGATE_ACCESS_TOKEN=… python3 worker.py ws://127.0.0.1:8082/flows/<flowId>/worker
"""

import asyncio
import json
import os
import sys

import websockets


async def work(url):
    headers = {"authorization": "Bearer " + os.environ["TIDEGATE_ACCESS_TOKEN"]}
    # Attaches again whenever the connection ends; what was not acked comes again.
    async for engine in websockets.connect(url, subprotocols=["tidegate.worker.v1"], additional_headers=headers):
        try:
            await engine.send(json.dumps({"type": "ready", "credit": 100}))
            async for text in engine:
                frame = json.loads(text)
                if frame["type"] == "trigger":
                    await engine.send(json.dumps(answer(frame)))
                    await engine.send(json.dumps({"type": "ready", "credit": 1}))
        except websockets.ConnectionClosed:
            continue


def answer(frame):
    data = frame["payload"]["data"]
    if data.get("replyId") and "body" in data:
        # A reply acks its trigger too.
        body = {"you said": data["body"]}
        return {"type": "reply", "seq": frame["seq"], "replyId": data["replyId"], "body": body}
    print("trigger", frame["seq"], data.get("type") or data["method"], flush=True)
    return {"type": "ack", "seqs": [frame["seq"]]}


asyncio.run(work(sys.argv[1]))
