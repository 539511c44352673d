"""A WebSocket-FLV viewer that is not ours: websocket.py URL FILE SECONDS. Prints one line of JSON about how it went."""

import asyncio
import json
import sys

import websockets


async def watch(url, file, seconds):
    said = {"messages": 0, "text": 0, "bytes": 0, "end": None}
    with open(file, "wb") as out:
        try:
            async with asyncio.timeout(seconds):
                async with websockets.connect(url, max_size=None, compression=None) as socket:
                    said["protocol"] = socket.subprotocol
                    async for message in socket:
                        if isinstance(message, str):
                            said["text"] += 1
                            continue
                        said["messages"] += 1
                        said["bytes"] += len(message)
                        out.write(message)
                    said["end"] = [socket.close_code, socket.close_reason]
        except TimeoutError:
            said["end"] = "time is over"
        except websockets.exceptions.ConnectionClosed as closed:
            said["end"] = [closed.rcvd.code if closed.rcvd else None, str(closed)]
        except websockets.exceptions.InvalidStatus as refused:
            said["end"] = ["status", refused.response.status_code]
    print(json.dumps(said))


asyncio.run(watch(sys.argv[1], sys.argv[2], float(sys.argv[3])))
