"""A WebSocket server by the `websockets` package, which sends every message back."""

import asyncio
import sys

from websockets.asyncio.server import serve


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    # No pings of its own, so that an idle one is idle.
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), ping_interval=None, backlog=1024) as server:
        await server.serve_forever()


asyncio.run(main())
