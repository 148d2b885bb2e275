"""A client of grpc_server.py through a gate: `grpc_client.py PORT AUTHORITY CALL`, the token on stdin, if any.

It prints what came as lines of JSON: each message, then the status and the trailers.
"""

import json
import queue
import sys

import grpc

port, authority, call = sys.argv[1:]
token = sys.stdin.read().strip()
metadata = (("authorization", f"Bearer {token}"),) if token else ()
channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.default_authority", authority)])


def say(**what):
    print(json.dumps(what), flush=True)


def one_by_one():
    """Says the next thing only when the last was answered."""
    said = queue.Queue()
    said.put(b"one")
    answers = channel.stream_stream("/test.Echo/Chat")(iter(said.get, None), metadata=metadata, timeout=20)
    rest = iter([b"two", b"three", None])
    for answer in answers:
        say(message=answer.decode())
        said.put(next(rest))
    return answers


def read(answers):
    for answer in answers:
        say(message=answer.decode())
    return answers


CALLS = {
    "unary": lambda: channel.unary_unary("/test.Echo/Unary").with_call(b"hello", metadata=metadata, timeout=20)[1],
    "large": lambda: channel.unary_unary("/test.Echo/Unary").with_call(b"x" * 3_000_000, metadata=metadata, timeout=20)[1],
    "count": lambda: read(channel.unary_stream("/test.Echo/Count")(b"5", metadata=metadata, timeout=20)),
    "endless": lambda: read(channel.unary_stream("/test.Echo/Count")(b"", metadata=metadata, timeout=20)),
    "chat": one_by_one,
    "fail": lambda: channel.unary_unary("/test.Echo/Fail").with_call(b"", metadata=metadata, timeout=20)[1],
}
try:
    ended = CALLS[call]()
    trailers = {key: value for key, value in ended.trailing_metadata() if key.startswith("x-")}
    say(status="OK", trailers=trailers)
except grpc.RpcError as error:
    say(status=error.code().name, details=error.details())
