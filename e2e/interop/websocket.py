"""A WebSocket-FLV viewer that is not ours: websocket.py URL FILE SECONDS. Prints what it received as one line of JSON."""

import asyncio
import json
import sys

import websockets


async def watch(url, file, seconds):
    seen = {"messages": 0, "text": 0, "bytes": 0, "end": None}
    with open(file, "wb") as out:
        try:
            async with asyncio.timeout(seconds):
                async with websockets.connect(url, max_size=None) as socket:
                    seen["protocol"] = socket.subprotocol
                    async for message in socket:
                        if isinstance(message, str):
                            seen["text"] += 1
                            continue
                        seen["messages"] += 1
                        seen["bytes"] += len(message)
                        out.write(message)
                    seen["end"] = [socket.close_code, socket.close_reason]
        except TimeoutError:
            seen["end"] = "timeout"
        except websockets.exceptions.ConnectionClosed as closed:
            seen["end"] = [closed.rcvd.code if closed.rcvd else None, str(closed)]
        except websockets.exceptions.InvalidStatus as refused:
            seen["end"] = ["status", refused.response.status_code]
    print(json.dumps(seen))


asyncio.run(watch(sys.argv[1], sys.argv[2], float(sys.argv[3])))
