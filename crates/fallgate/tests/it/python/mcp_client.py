"""A client of the Model Context Protocol, by the protocol's own SDK: adds 40 and 2 at the address that is its argument,
with the token that comes on stdin, if any. Prints what came of it as JSON, each answer's status and challenge before."""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def seen(response):
    print(json.dumps({
        "status": response.status_code,
        "type": response.headers.get("content-type"),
        "challenge": response.headers.get("www-authenticate"),
    }))


async def main():
    token = sys.stdin.read().strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(headers=headers, event_hooks={"response": [seen]}, timeout=30) as http:
        async with Client(streamable_http_client(sys.argv[1], http_client=http)) as client:
            result = await client.call_tool("add", {"a": 40, "b": 2})
            print(json.dumps({"result": result.content[0].text}))


try:
    asyncio.run(main())
except BaseException as error:
    print(json.dumps({"failed": type(error).__name__}))
