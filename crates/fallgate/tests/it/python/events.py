"""An event source: numbered events for as long as somebody listens, so many a second as the second argument says.

It prints a line when somebody comes and when it notices that they left.
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Events(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        print("came", flush=True)
        number = 0
        try:
            while True:
                self.wfile.write(f"id: {number}\ndata: event {number}\n\n".encode())
                number += 1
                time.sleep(1 / float(sys.argv[2]))
        except OSError:
            print("left", flush=True)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


Server(("127.0.0.1", int(sys.argv[1])), Events).serve_forever()
