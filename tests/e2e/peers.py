"""What tasks of the tests serve with: this machine's Python, run in the container's network (see test_data_planes.py).

gRPC at 50051, WebSockets and a health page at 80, and at 7000 what comes by TCP and UDP, in capitals.
"""

import asyncio
import concurrent.futures
import http
import os

import grpc
import websockets.asyncio.server

VERSION = os.environ.get("VERSION", "none")


def unary(request, context):
    context.send_initial_metadata((("said-first", "hello"),))
    context.set_trailing_metadata((("said-last", VERSION),))
    return request.upper()


def stream(request, context):
    context.set_trailing_metadata((("said-last", request.decode()),))
    yield from (b"%d" % number for number in range(int(request)))


def chat(requests, _context):
    yield from (request.upper() for request in requests)


def fail(_request, context):
    context.set_trailing_metadata((("said-last", "why"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "no claim of that number: é")


class Claims(grpc.GenericRpcHandler):
    methods = {
        "/claims.Claims/Unary": grpc.unary_unary_rpc_method_handler(unary),
        "/claims.Claims/Stream": grpc.unary_stream_rpc_method_handler(stream),
        "/claims.Claims/Chat": grpc.stream_stream_rpc_method_handler(chat),
        "/claims.Claims/Fail": grpc.unary_unary_rpc_method_handler(fail),
        # HealthCheckResponse with the status SERVING.
        "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"\x08\x01"),
    }

    def service(self, details):
        return self.methods.get(details.method)


def health(connection, request):
    return connection.respond(http.HTTPStatus.OK, "ok\n") if request.path == "/health" else None


async def echo(connection):
    await connection.send(f"{VERSION} {connection.request.headers.get('X-Forwarded-Proto')}")
    async for message in connection:
        await connection.send(message)


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, client):
        self.transport.sendto(data.upper(), client)


async def lines(reader, writer):
    while data := await reader.read(4096):
        writer.write(data.upper())
        await writer.drain()
    writer.close()


async def main():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Claims(),))
    server.add_insecure_port("0.0.0.0:50051")
    server.start()
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", 7000))
    await asyncio.start_server(lines, "0.0.0.0", 7000)
    async with websockets.asyncio.server.serve(echo, "0.0.0.0", 80, process_request=health):
        await loop.create_future()


asyncio.run(main())
