"""The servers of asyncio's documentation: `protocol` or `streams`, on the loop `asyncio` or `uvloop`."""
import asyncio
import sys

style, loop, cut = sys.argv[1:]


class Upper(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data.upper())


async def talk(reader, writer):
    while data := await (reader.readline() if cut == "line" else reader.read(64 << 10)):
        writer.write(data.upper())
        await writer.drain()
    writer.close()


async def main():
    if style == "protocol":
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Upper, "127.0.0.1", 0, backlog=4096)
    else:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if loop == "uvloop":
    import uvloop

    uvloop.install()
asyncio.run(main())
