#!/usr/bin/python3
"""An HTTP server for the tests of the agents' HTTP side: prints its port, then serves until killed.

  /echo            the request's body, chunked if it came chunked
  /head            the request's line and fields as JSON
  /stream?n=N      N bytes that stand for themselves (8-byte counters), chunked; with &length=1 by Content-Length
  /sum             how many bytes came, and their SHA-256
  /events?n=N      N server-sent events, each after the one before was read by a POST to /next
  /next            lets an event go
  /slow?s=S        answers after S seconds
  /gone            what /slow and /events noticed: clients that left
  /break           begins 1,000,000 bytes and breaks off
  /early           answers 413 without reading
  /status?c=C      that status
  /asked           who asked for what so far
  /heads           target and fields of each request so far, as they came; taken away by that
  /ws              changes to the protocol `echo` and sends back what comes, upper-case
"""
import asyncio
import hashlib
import json
import struct
import sys
import urllib.parse

gone = []
asked = []
heads = []
released = asyncio.Event()
PIECE = 65536


def numbers(begin, n):
    first, last = begin // 8, (begin + n + 7) // 8
    return b"".join(struct.pack(">Q", i) for i in range(first, last))[begin % 8:begin % 8 + n]


async def body_of(reader, fields):
    if fields.get("transfer-encoding", "") == "chunked":
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            data = await reader.readexactly(size)
            await reader.readline()
            if not size:
                return
            yield data
    left = int(fields.get("content-length", 0))
    while left:
        data = await reader.read(min(left, PIECE))
        if not data:
            raise ConnectionError
        left -= len(data)
        yield data


async def answer(reader, writer, method, target, fields):
    url = urllib.parse.urlsplit(target)
    query = dict(urllib.parse.parse_qsl(url.query))

    def head(status, **more):
        lines = [f"HTTP/1.1 {status} Word"] + [f"{k.replace('_', '-')}: {v}" for k, v in more.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def chunk(data):
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def whole(status, data, **more):
        head(status, Content_Length=len(data), **more)
        if method != "HEAD":
            writer.write(data)

    path = url.path
    asked.append([method, target, fields.get("sluice-caller", "")])
    if path == "/asked":
        whole(200, json.dumps(asked).encode())
        return True
    if path == "/heads":
        whole(200, json.dumps(heads).encode())
        heads.clear()
        return True
    if path == "/early":
        whole(413, b"too much")
        await writer.drain()
        return False
    if path == "/ws":
        head(101, Connection="Upgrade", Upgrade="echo")
        while data := await reader.read(PIECE):
            writer.write(data.upper())
            await writer.drain()
        return False
    if path == "/echo" and fields.get("transfer-encoding") == "chunked":
        if "expect" in fields:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        head(200, Transfer_Encoding="chunked")
        async for data in body_of(reader, fields):
            chunk(data)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        return True
    digest, size, kept = hashlib.sha256(), 0, []
    async for data in body_of(reader, fields):
        digest.update(data)
        size += len(data)
        if path == "/echo":
            kept.append(data)
    if path == "/echo":
        whole(200, b"".join(kept), Content_Type=fields.get("content-type", "application/octet-stream"))
    elif path == "/sum":
        whole(200, json.dumps({"bytes": size, "sha256": digest.hexdigest()}).encode())
    elif path == "/head":
        whole(200, json.dumps({"method": method, "target": target, "fields": fields}).encode())
    elif path == "/stream":
        n = int(query["n"])
        if "length" in query:
            head(200, Content_Length=n)
        else:
            head(200, Transfer_Encoding="chunked")
        for at in range(0, n, PIECE):
            data = numbers(at, min(PIECE, n - at))
            if "length" in query:
                writer.write(data)
            else:
                chunk(data)
            await writer.drain()
        if "length" not in query:
            writer.write(b"0\r\n\r\n")
    elif path == "/events":
        head(200, Content_Type="text/event-stream", Transfer_Encoding="chunked")
        for i in range(int(query["n"])):
            chunk(b"data: %d\n\n" % i)
            await writer.drain()
            wait = asyncio.ensure_future(released.wait())
            left = asyncio.ensure_future(reader.read(1))
            done, rest = await asyncio.wait({wait, left}, return_when=asyncio.FIRST_COMPLETED)
            for r in rest:
                r.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            if left in done:
                gone.append(path)
                return False
            released.clear()
        writer.write(b"0\r\n\r\n")
    elif path == "/next":
        released.set()
        whole(200, b"")
    elif path == "/slow":
        left = asyncio.ensure_future(reader.read(1))
        done, _ = await asyncio.wait({left}, timeout=float(query["s"]))
        if done:
            gone.append(path)
            return False
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        whole(200, b"slow")
    elif path == "/gone":
        whole(200, json.dumps(gone).encode())
    elif path == "/break":
        head(200, Content_Length=1_000_000)
        writer.write(bytes(500_000))
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.transport.abort()
        return False
    elif path == "/status":
        code = int(query["c"])
        if code in (204, 304):
            head(code)
        else:
            whole(code, b"as asked")
    else:
        whole(404, b"no such path")
    return True


async def serve(reader, writer):
    try:
        while True:
            line = await reader.readline()
            if not line:
                break
            method, target, _ = line.decode().split(" ")
            fields, lines = {}, []
            while (line := await reader.readline()) not in (b"\r\n", b""):
                key, value = line.decode().split(":", 1)
                lines.append([key.lower(), value.strip()])
                fields[key.lower()] = value.strip()
            if not target.startswith("/heads"):
                heads.append([target, lines])
            if not await answer(reader, writer, method, target, fields):
                break
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, ValueError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
