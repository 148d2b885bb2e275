"""A web server that tells what reached it: in its answer, and in a line of JSON on stdout for each whole request.

It is Python's own http.server, as lenient as that comes, with what it lacks: chunked bodies, and any method.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Broken(Exception):
    """The body did not arrive whole."""


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One segment for each answer, and no name look-ups.
    wbufsize = -1

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.echo
        raise AttributeError(name)

    def echo(self):
        seen = {"method": self.command, "target": self.path}
        try:
            body = self.body()
        except Broken as broken:
            say({**seen, "broken": str(broken)})
            self.close_connection = True
            return
        seen["length"] = len(body)
        say(seen)
        headers = [[name, value] for name, value in self.headers.items()]
        answer = json.dumps({**seen, "headers": headers, "body": body.decode("latin-1")}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self.chunks()
        return self.exactly(int(self.headers.get("Content-Length") or 0))

    def chunks(self):
        body = b""
        while True:
            line = self.rfile.readline()
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError:
                raise Broken(f"chunk size {line!r}") from None
            if size == 0:
                break
            body += self.exactly(size)
            self.rfile.readline()
        while True:
            line = self.rfile.readline()
            if not line:
                raise Broken("no end of the trailers")
            if line in (b"\r\n", b"\n"):
                return body

    def exactly(self, length):
        body = self.rfile.read(length)
        if len(body) < length:
            raise Broken(f"{len(body)} of {length} bytes")
        return body

    def send_error(self, code, message=None, explain=None):
        say({"error": code, "line": self.requestline})
        super().send_error(code, message, explain)

    def log_message(self, *_):
        pass


def say(what):
    # One write, so that lines of two threads do not mix.
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_):
        # Clients that leave are what it is here for.
        pass


Server(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
