"""Drives the fault proxy with chaostoolkit-toxiproxy, unmodified, in an experiment of the Chaos Toolkit.

    chaos_toolkit.py http://127.0.0.1:PORT
"""

import json
import logging
import os
import socket
import socketserver
import sys
import threading
import time
import urllib.parse

from chaoslib.experiment import ensure_experiment_is_valid, run_experiment
from chaostoxi.proxy import actions as proxies
from chaostoxi.proxy import probes
from chaostoxi.toxic import actions as toxics

TEXT = b"hello over a proxy"
LATE = 20


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(65536):
                self.request.sendall(data)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


def exchange(port):
    """Sends the text, and returns what comes back, how the connection ended, and the time in seconds."""
    received, end, start = b"", "open", time.monotonic()
    with socket.create_connection(("127.0.0.1", int(port)), timeout=LATE) as client:
        try:
            client.sendall(TEXT)
            while len(received) < len(TEXT):
                data = client.recv(65536)
                if not data:
                    end = "closed"
                    break
                received += data
        except ConnectionResetError:
            end = "reset"
    return received, end, time.monotonic() - start


def round_trip(least, most):
    """A probe of the experiment: the whole text comes back within a range of seconds."""
    received, _, seconds = exchange(os.environ["echo_PORT"])
    return received == TEXT and least <= seconds < most


def python(kind, name, module, function, tolerance=None, **arguments):
    it = {
        "type": kind,
        "name": name,
        "provider": {"type": "python", "module": module, "func": function, "arguments": arguments},
    }
    return it if tolerance is None else {**it, "tolerance": tolerance}


def experiment(api, upstream_port):
    action = lambda name, module, function, **arguments: python("action", name, module, function, **arguments)
    probe = lambda name, function, tolerance, **arguments: python(
        "probe", name, "chaos_toolkit" if function == "round_trip" else "chaostoxi.proxy.probes", function, tolerance, **arguments
    )
    return {
        "title": "The echo server answers while its responses are late",
        "description": "Drives the fault proxy with unmodified actions and probes",
        "configuration": {"toxiproxy_host": api.hostname, "toxiproxy_port": api.port},
        "steady-state-hypothesis": {
            "title": "The echo server answers",
            "probes": [
                probe("the proxy exists", "proxy_exist", True, proxy_name="echo"),
                probe("the proxy is enabled", "get_proxy_attribute", True, proxy_name="echo", attribute="enabled"),
                probe("the text comes back", "round_trip", True, least=0, most=LATE),
            ],
        },
        "method": [
            action(
                "add latency", "chaostoxi.toxic.actions", "create_latency_toxic",
                for_proxy="echo", toxic_name="slow", latency=200, jitter=10,
            ),
            probe("the text is late", "round_trip", True, least=0.19, most=LATE),
        ],
        "rollbacks": [
            action("remove the latency", "chaostoxi.toxic.actions", "delete_toxic", for_proxy="echo", toxic_name="slow"),
            action("reset", "chaostoxi.proxy.actions", "reset"),
        ],
    }


def main():
    # This client logs every request.
    logging.getLogger("logzero_default").setLevel(logging.WARNING)
    api = urllib.parse.urlsplit(sys.argv[1])
    server = Server(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    upstream_port = server.server_address[1]
    configuration = {"toxiproxy_url": sys.argv[1]}
    given = {"configuration": configuration}

    assert not probes.proxy_exist("echo", **given)
    create = dict(upstream_host="127.0.0.1", upstream_port=upstream_port)
    assert proxies.create_proxy("echo", listen_host="127.0.0.1", **create, **given)
    port = configuration["echo_PORT"]
    assert os.environ["echo_PORT"] == port
    assert exchange(port)[0] == TEXT
    # The default of this client is 0.0.0.0, which needs a token.
    try:
        proxies.create_proxy("open", **create, **given)
    except AssertionError:
        pass
    else:
        raise AssertionError("a proxy on 0.0.0.0 was created without a token")

    journal = run_experiment(checked(experiment(api, upstream_port)))
    assert journal["status"] == "completed" and not journal["deviated"], json.dumps(journal, indent=2, default=str)
    probed = [run for run in journal["run"] if run["activity"]["type"] == "probe"]
    assert [run["output"] for run in probed] == [True], journal["run"]
    assert [run["status"] for run in journal["rollbacks"]] == ["succeeded", "succeeded"]

    is_whole = lambda result: result[0] == TEXT
    cases = [
        (toxics.create_latency_toxic, dict(latency=100), lambda it: is_whole(it) and 0.1 <= it[2] < LATE),
        (toxics.create_bandwith_degradation_toxic, dict(rate=1), lambda it: is_whole(it) and it[2] >= 0.018),
        (toxics.create_slow_connection_close_toxic, dict(delay=10), is_whole),
        (toxics.create_timeout_toxic, dict(timeout=100), lambda it: it[:2] == (b"", "closed") and it[2] >= 0.1),
        (toxics.create_slicer_toxic, dict(average_size=2, size_variation=1, delay=10), is_whole),
        (toxics.create_limiter_toxic, dict(bytes_limit=5), lambda it: it[:2] == (TEXT[:5], "closed")),
        (
            toxics.create_toxic,
            dict(toxic_type="reset_peer", stream="upstream", toxicity=1.0, attributes={"timeout": 0}),
            lambda it: it[:2] == (b"", "reset"),
        ),
        (toxics.create_toxic, dict(toxic_type="noop", attributes=None), is_whole),
    ]
    for create_toxic, arguments, holds in cases:
        assert create_toxic(for_proxy="echo", toxic_name="toxic", **arguments, **given)
        attribute = probes.get_proxy_attribute("echo", "toxics", **given)
        assert [toxic["name"] for toxic in attribute] == ["toxic"], attribute
        result = exchange(port)
        assert holds(result), (create_toxic.__name__, arguments, result)
        assert toxics.delete_toxic("echo", "toxic", **given)
    assert not toxics.delete_toxic("echo", "toxic", **given)

    assert proxies.disable_proxy("echo", **given)
    try:
        exchange(port)
    except ConnectionRefusedError:
        pass
    else:
        raise AssertionError("a disabled proxy accepts connections")
    assert proxies.enable_proxy("echo", **given)
    assert configuration["echo_PORT"] == port and exchange(port)[0] == TEXT
    assert proxies.modify_proxy("echo", listen_address="127.0.0.1:0", **given)
    assert configuration["echo_PORT"] == port, "the address as configured"
    assert proxies.modify_proxy("echo", listen_address="localhost:0", **given)
    assert configuration["echo_PORT"] != port and exchange(configuration["echo_PORT"])[0] == TEXT
    assert proxies.reset(**given)
    proxies.delete_proxy("echo", **given)
    assert not probes.proxy_exist("echo", **given)
    print("chaostoolkit-toxiproxy: all checks passed")


def checked(experiment):
    ensure_experiment_is_valid(experiment)
    return experiment


if __name__ == "__main__":
    main()
