"""Python's websockets against a WebSocket webhook whose flow sends every message back as it came.

Arguments: the webhook's URL (ws://…). Exit code 0: all was as it should be.
"""

import asyncio
import sys

import websockets

LIMIT = 262_144
SECONDS_MAX = 20


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: expected {str(wanted)[:200]}, got {str(got)[:200]}")


def connect(url, compression):
    return websockets.connect(url, compression=compression, max_size=4 * LIMIT, open_timeout=SECONDS_MAX)


async def echoed(client, what, message, fragments=None):
    """Sends a message, perhaps in fragments, and expects it back whole."""
    await client.send(fragments or message)
    expect(what, await asyncio.wait_for(client.recv(), SECONDS_MAX), message)


async def closed(client):
    """Waits for the server's close; gives back its code and reason."""
    try:
        message = await asyncio.wait_for(client.recv(), SECONDS_MAX)
    except websockets.ConnectionClosed as end:
        return (end.rcvd.code, end.rcvd.reason) if end.rcvd else None
    sys.exit(f"expected a close, got {message[:200]!r}")


async def conversation(url, compression):
    async with connect(url, compression) as client:
        offered = [extension.name for extension in client.protocol.extensions]
        expect("extensions", offered, ["permessage-deflate"] if compression else [])
        for text in ["hello", "", "ünïcödé 🐢 \u0000 \"quoted\" \\", "x" * 70_000, "é" * (LIMIT // 2)]:
            await echoed(client, f"text of {len(text)}", text)
        for size in [0, 1, 2, 3, 125, 126, 65_535, 65_536, LIMIT * 3 // 4]:
            await echoed(client, f"{size} bytes", bytes(index * 7 % 256 for index in range(size)))
        await echoed(client, "fragments of text", "a é 🐢", ["a ", "é", "", " 🐢"])
        await echoed(client, "fragments of bytes", b"\x00\xff" * 1000, [b"\x00\xff" * 500, b"", b"\x00\xff" * 500])
        await asyncio.wait_for(await client.ping(b"are you there"), SECONDS_MAX)
        # Many at once come back in order.
        for index in range(500):
            await client.send(f"message {index}")
        for index in range(500):
            expect("order", await asyncio.wait_for(client.recv(), SECONDS_MAX), f"message {index}")
        await client.close(4321, "that was all")
        expect("close", client.close_code, 4321)

    async with connect(url, compression) as client:
        await client.send("y" * (LIMIT + 1))
        expect("a message too large", await closed(client), (1008, "Message too large"))

    async with connect(url, compression) as client:
        await client.send(["y" * 1000] * (LIMIT // 1000 + 1))
        expect("fragments too large", await closed(client), (1008, "Message too large"))


async def main(url):
    for compression in [None, "deflate"]:
        await conversation(url, compression)


asyncio.run(main(sys.argv[1]))
