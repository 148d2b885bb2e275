"""A server of gRPC itself, over HTTP/2 without TLS. The messages of its one service, `test.Echo`, are bytes as they are.

Unary gives the message back; Count counts in as many messages as were asked for, or without end; Chat answers each
message as it comes; Fail fails. All but Fail send what they were told of the caller in their trailers.
"""

import sys
import time
from concurrent import futures

import grpc


def tell(context):
    seen = {key: value for key, value in context.invocation_metadata()}
    context.set_trailing_metadata((("x-user", seen.get("remote-user", "")), ("x-bearer", seen.get("authorization", ""))))


def unary(request, context):
    tell(context)
    return request


def count(request, context):
    tell(context)
    number = 0
    while context.is_active() and (not request or number < int(request)):
        yield str(number).encode()
        number += 1
        time.sleep(0.02)


def chat(requests, context):
    tell(context)
    for request in requests:
        yield request.upper()


def fail(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no luck today")


handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
