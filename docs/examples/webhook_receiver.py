"""Takes webhooks, each once: WEBHOOK_SECRET=whsec_… python webhook_receiver.py 9000 taken.jsonl"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
port, file = int(sys.argv[1]), Path(sys.argv[2])
file.touch()
known = {json.loads(line)["id"] for line in file.read_text().splitlines()}
lock = threading.Lock()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection for the next one

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            message = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            return self.answer(401)
        with lock, file.open("a") as taken:
            if (id := self.headers["webhook-id"]) not in known:  # it may come again, under its id
                taken.write(json.dumps({"id": id, **message}) + "\n")
                known.add(id)
        self.answer(204)  # only now: what is not answered comes again

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
