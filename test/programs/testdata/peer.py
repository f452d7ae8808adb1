# SPDX-License-Identifier: Apache-2.0
"""peer.py server HOST PORT: answers every request with the body that came.
peer.py client URL...: sends bodies of many sizes on a kept connection and on new ones, and compares the answers."""
import http.client
import http.server
import random
import socket
import sys
import urllib.parse


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Server", "python")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, host, port):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Echo)


def exchange(connection, size):
    body = random.randbytes(size)
    connection.request("POST", "/", body)
    response = connection.getresponse()
    got = response.read()
    if response.status != 200 or got != body:
        sys.exit(f"status {response.status}, {len(got)} bytes back, not the {size} sent")


def client(url):
    u = urllib.parse.urlsplit(url)
    with socket.create_connection((u.hostname, u.port)) as s:
        if s.getpeername()[:2] != (u.hostname, u.port):
            sys.exit(f"getpeername says {s.getpeername()}, connected to {u.netloc}")
    kept = http.client.HTTPConnection(u.hostname, u.port, timeout=60)
    for i in range(30):
        exchange(kept, i * i * 1171 % 300_000)
    kept.close()
    for i in range(10):
        single = http.client.HTTPConnection(u.hostname, u.port, timeout=60)
        exchange(single, i * 977)
        single.close()


if sys.argv[1] == "server":
    Server(sys.argv[2], int(sys.argv[3])).serve_forever()
for url in sys.argv[2:]:
    client(url)
print("ok")
