"""A port that leads to another one, where all that is sent arrives later. `python delay_line.py FROM TO SECONDS`

Answers are not delayed: a request takes so many seconds more, by HTTP and by WebSocket. Ends when killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import partial

HOST = "127.0.0.1"
BYTES = 1 << 16

Sent = asyncio.Queue[tuple[float, bytes]]


async def main(listen: int, port: int, delay: float) -> None:
    server = await asyncio.start_server(partial(_connect, port, delay), HOST, listen)
    print("ready", flush=True)
    await server.serve_forever()


async def _connect(port: int, delay: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        answers, requests = await asyncio.open_connection(HOST, port)
    except OSError:
        writer.transport.abort()
        return
    await asyncio.gather(_hand_on(reader, requests, delay), _hand_on(answers, writer, 0.0))


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """What comes is read at once, so that all of a request waits together, not one part after the other."""
    sent = Sent()
    sending = asyncio.create_task(_send(sent, writer))
    data = b"-"
    while data:
        try:
            data = await reader.read(BYTES)
        except OSError:
            data = b""
        sent.put_nowait((asyncio.get_running_loop().time() + delay, data))
    await sending


async def _send(sent: Sent, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while True:
            due, data = await sent.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            if not data:
                break
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
