"""What route tables for Cilium do over time: Envoy with a CiliumEnvoyConfig as it is written lets requests fail, tries again, gives up, copies and keeps to an
endpoint as the VirtualService and the DestinationRule say that it comes from."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import yaml

import meshport

from .client import Answer, ask
from .proxy import LOOPBACK, Obj, address, needs_envoy, running

ISTIO = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /fails}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 50}}}
    route: [{destination: {host: one}, weight: 51}, {destination: {host: two}, weight: 49}]
  - match: [{uri: {prefix: /always}}]
    fault: {abort: {httpStatus: 503, percentage: {value: 100}}}
    route: [{destination: {host: one}}]
  - match: [{uri: {prefix: /busy}}]
    retries: {attempts: 2, retryOn: "503", backoff: 1ms}
    route: [{destination: {host: one}}]
  - match: [{uri: {prefix: /slow-try}}]
    retries: {attempts: 2, perTryTimeout: 60ms, retryOn: gateway-error, backoff: 1ms}
    route: [{destination: {host: one}}]
  - match: [{uri: {prefix: /slow}}]
    timeout: 100ms
    route: [{destination: {host: one}}]
  - match: [{uri: {prefix: /copied}}]
    mirrors: [{destination: {host: copies}, percentage: {value: 50}}, {destination: {host: two}}]
    route: [{destination: {host: one}}]
  - match: [{authority: {exact: other.test}}]
    route: [{destination: {host: two}}]
  - match: [{uri: {prefix: /bare}, withoutHeaders: {x-user: {prefix: a}, x-beta: {}}}]
    route: [{destination: {host: two}}]
  - route: [{destination: {host: one}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: hashed, namespace: shop}
spec: {host: hashed, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
"""
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {{name: {0}, namespace: shop}}
spec: {{selector: {{app: {0}}}, ports: [{{name: http, port: 80}}]}}
"""
NAMES = ("web", "one", "two", "copies", "hashed")
ENDPOINTS = {"hashed": 3}
"""How many servers stand for a Service; one for all others."""
BUSY = 2
"""How often a path is answered 503 before it is answered 200."""
SLOW = 0.3  # seconds


class _Scripted(BaseHTTPRequestHandler):
    """Answers by the path: `/busy` is busy at first, `/slow` takes its time, `/slow-try` at first only."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        with server.lock:
            seen = server.seen[self.path] = server.seen[self.path] + 1
        if self.path.startswith("/slow") and not (self.path.startswith("/slow-try") and seen > 1):
            time.sleep(SLOW)
        self.send_response(503 if self.path.startswith("/busy") and seen <= BUSY else 200)
        body = server.called.encode()
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True


@contextmanager
def serving(names: list[str]) -> Iterator[dict[str, Any]]:
    """A server for each name, which counts what it is asked for."""
    with ExitStack() as stack:
        found = {}
        for name in names:
            server: Any = stack.enter_context(_Server((LOOPBACK, 0), _Scripted))
            server.called, server.seen, server.lock = name, Counter(), threading.Lock()
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            stack.callback(server.shutdown)
            found[name] = server
        yield found


def completed(made: list[Obj], ports: dict[str, int]) -> tuple[list[Obj], list[Obj]]:
    """The listeners with their routes, and the clusters as they are written, but for the endpoints: these are the servers of the test."""
    listeners, clusters = [], {}
    for obj in made:
        resources = obj["spec"]["resources"]
        tables = {item["name"]: {**item, "@type": None} for item in resources if item["@type"].endswith("RouteConfiguration")}
        for item in resources:
            body = {key: value for key, value in item.items() if key != "@type"}
            if item["@type"].endswith("Listener"):
                manager = item["filter_chains"][0]["filters"][0]["typed_config"]
                table = tables[manager.pop("rds")["route_config_name"]]
                manager["route_config"] = {key: value for key, value in table.items() if key != "@type"}
                listeners.append(body)
            elif item["@type"].endswith("Cluster"):
                body.pop("eds_cluster_config", None)
                service = body["name"].partition("/")[2].partition(":")[0]
                ends = [{"endpoint": {"address": address(port)}} for name, port in ports.items() if name.partition(" ")[0] == service]
                clusters[body["name"]] = {**body, "type": "STATIC", "load_assignment": {"cluster_name": body["name"], "endpoints": [{"lb_endpoints": ends}]}}  # fmt: skip
    return listeners, list(clusters.values())


def near(seen: int, tries: int, share: float) -> bool:
    """Whether a count is what chance makes of a share, give or take five deviations."""
    return abs(seen - tries * share) < 5 * sqrt(tries * share * (1 - share))


@needs_envoy
def test_tables_do_what_the_rules_say(tmp_path: Path) -> None:
    text = ISTIO + "".join(SERVICE.format(name) for name in NAMES)
    result = meshport.convert(meshport.load_objects(list(yaml.safe_load_all(text))), source="istio", target="cilium", routes="native")
    assert not [item for item in result.findings if item.code in ("MP900", "MP316", "MP319", "MP320", "MP350", "MP355")]
    made = [item.object for item in result.manifests if item.object["kind"] == "CiliumEnvoyConfig"]
    with serving([f"{name} {number}" for name in NAMES for number in range(ENDPOINTS.get(name, 1))]) as servers:
        listeners, clusters = completed(made, {name: server.server_address[1] for name, server in servers.items()})
        with running(listeners, clusters, tmp_path) as ports:

            def get(path: str, host: str = "web", service: str = "web", **headers: str) -> Answer:
                return ask(ports[service], "GET", path, host, [(name.replace("_", "-"), value) for name, value in headers.items()])

            def tried(path: str, name: str = "one 0") -> int:
                return int(servers[name].seen[path])

            # half of the requests fail, and those that do not are still shared
            answers = Counter((answer.status, answer.body) for _ in range(200) for answer in [get("/fails")])
            assert set(answers) == {(418, b"fault filter abort"), (200, b"one 0"), (200, b"two 0")}
            assert near(answers[418, b"fault filter abort"], 200, 0.5) and near(answers[200, b"one 0"], 200, 0.255)
            assert get("/always").status == 503 and tried("/always") == 0

            # two tries more are three, and none more
            assert get("/busy").status == 200 and tried("/busy") == BUSY + 1
            servers["one 0"].seen["/busy"] = -3
            assert get("/busy").status == 503 and tried("/busy") == 0

            # a try that is late is tried again, a request that is late is answered 504
            assert get("/slow-try").status == 200 and tried("/slow-try") == 2
            start = time.monotonic()
            assert get("/slow").status == 504 and time.monotonic() - start < SLOW and tried("/slow") == 1

            # copies, of half and of all
            for _ in range(50):
                assert get("/copied").body == b"one 0"
            time.sleep(0.1)
            assert near(tried("/copied", "copies 0"), 50, 0.5) and tried("/copied", "two 0") == 50

            # demands on the host, and on headers that are not there
            assert [get("/", host=host).body for host in ("other.test", "web")] == [b"two 0", b"one 0"]
            assert get("/bare").body == get("/bare", x_user="bob").body == b"two 0"
            assert get("/bare", x_user="alice").body == get("/bare", x_beta="").body == b"one 0"

            # the same header, the same endpoint; all of them are used
            kept = {user: {get("/", "hashed", "hashed", x_user=user).body for _ in range(3)} for user in map(str, range(20))}
            assert all(len(ends) == 1 for ends in kept.values()) and len({end for ends in kept.values() for end in ends}) == 3


@pytest.mark.parametrize(("share", "others", "said"), [
    (50, [], (50, "HUNDRED")), (50, [2], (50, "HUNDRED")), (1, [2], (100, "TEN_THOUSAND")), (50, [100], (5000, "TEN_THOUSAND")),
    (12.5, [3], (1250, "TEN_THOUSAND")), (33.33333, [], (333333, "MILLION")), (33.33333, [1000], None), (100, [10_000], (100, "HUNDRED")),
])  # fmt: skip
def test_shares_of_failures_are_independent_of_other_shares(share: float, others: list[int], said: tuple[int, str] | None) -> None:
    from meshport.dialects.cilium.envoy_faults import fraction

    assert fraction(share, others) == said
