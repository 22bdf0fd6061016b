"""The admin API of the emulator, as a fixture."""

import json
import os
import urllib.request

import pytest


class Admin:
    """Steers the emulator."""

    def __init__(self, url):
        self.url = url
        # The admin API is on loopback, past every proxy.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, method=method)
        with self.opener.open(request) as response:
            text = response.read()
        return json.loads(text) if text else None

    def post(self, path, body=None):
        return self.call("POST", path, body)


@pytest.fixture
def admin():
    admin = Admin(os.environ["ENTRA_WORKLOAD_ADMIN_URL"])
    admin.post("/reset")
    yield admin
    admin.post("/reset")
