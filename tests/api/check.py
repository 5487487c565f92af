"""Tests the HTTP API of the `payments` example.

Schemathesis sends valid and invalid requests from the OpenAPI document. The parsers of Prometheus and `promtool` read both
formats of the metrics.

    check.py PAYMENTS SCHEMATHESIS [PROMTOOL RULES]
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as prometheus

TOKEN = "a-token-for-the-tests"
API = "/api/resilience"
# These responses do not end.
STREAMS = ("/events", "/stream", "/journal")
# The document does not list the names and settings of a kind, so the program can reject requests that match the document.
DEPENDS = "positive_data_acceptance"


def fetch(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return answer.read().decode(), answer.headers["content-type"]


def check_document(service, schemathesis):
    """Runs Schemathesis with the document and existing component names."""
    document = json.loads(fetch(f"{service}{API}/openapi.json")[0])
    stats = json.loads(fetch(f"{service}{API}/stats")[0])
    names = sorted({name for kind in stats.values() if isinstance(kind, dict) for name in kind})
    assert "payment" in names, names
    for path, item in list(document["paths"].items()):
        if path.endswith(STREAMS):
            del document["paths"][path]
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "name":
                    parameter["schema"] = {"enum": names}
    paths = document["paths"]
    assert len(paths) >= 24 and f"{API}/protected-endpoint" in paths and f"{API}/chaos/stop" in paths, list(paths)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(document, file)
        file.flush()
        config = pathlib.Path(file.name).with_suffix(".toml")
        # Other requests force the circuit open. The protected endpoint then returns 503, which is correct.
        config.write_text('[checks.not_a_server_error]\nexpected-statuses = ["2xx", "4xx", 503]\n')
        run = [schemathesis, "--config-file", str(config)]
        run += ["run", file.name, "--url", service, "--seed", "1", "--max-examples", "40"]
        run += ["--header", f"Authorization: Bearer {TOKEN}", "--checks", "all", "--exclude-checks", DEPENDS]
        run += ["--suppress-health-check", "all", "--warnings", "off", "--request-timeout", "10"]
        done = subprocess.run(run, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        config.unlink()
    print(done.stdout[-4000:] if done.returncode else done.stdout.rstrip().splitlines()[-1])
    assert done.returncode == 0, "the API does not match its document"


def check_metrics(service):
    text, media = fetch(f"{service}{API}/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert media.startswith("application/openmetrics-text"), media
    families = list(openmetrics.text_string_to_metric_families(text))
    plain, media = fetch(f"{service}{API}/metrics")
    assert media.startswith("text/plain; version=0.0.4"), media
    others = list(prometheus.text_string_to_metric_families(plain))
    assert [family.name for family in families] == [family.name for family in others]
    samples = sum(len(family.samples) for family in families)
    assert len(families) > 30 and samples > 200, (len(families), samples)
    assert all(family.documentation for family in families)
    calls = next(family for family in families if family.name == "resilient_calls")
    assert calls.type == "counter"
    # Schemathesis has charged orders.
    charged = [sample.value for sample in calls.samples if sample.labels == {"operation": "charge", "outcome": "success"}]
    assert charged and charged[0] > 0, charged
    print(f"{len(families)} metric families, {samples} samples")


def check_with_promtool(service, promtool, rules):
    """Checks the metrics and the shipped rules with `promtool`."""
    subprocess.run([promtool, "check", "rules", rules], stdin=subprocess.DEVNULL, check=True)
    text = fetch(f"{service}{API}/metrics")[0]
    subprocess.run([promtool, "check", "metrics"], input=text, text=True, check=True)


def main(payments, schemathesis, *promtool):
    arguments = ["--port", "0", "--gateway-port", "0", "--load", "0", "--token", TOKEN]
    with subprocess.Popen([payments, *arguments], stdout=subprocess.PIPE, text=True) as program:
        try:
            service = next(line.split()[1] for line in program.stdout if line.startswith("service "))
            check_document(service, schemathesis)
            check_metrics(service)
            if promtool:
                check_with_promtool(service, *promtool)
            health = json.loads(fetch(f"{service}{API}/health/live")[0])
            assert health["status"] == "pass" and program.poll() is None, health
        finally:
            program.kill()


main(*sys.argv[1:])
