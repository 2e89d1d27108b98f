"""A log of what crosses a mesh: requests and connections between pods, of which each mesh would count some, each in its own words.

Most are plain. The others have a quirk, named: something that the meshes count differently, for which a finding has to answer wherever a query can see it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

SECONDS = 720
"""How long the traffic lasts."""


@dataclass(frozen=True, slots=True)
class Workload:
    namespace: str
    name: str
    app: str
    version: str = "v1"
    meshed: bool = True
    kind: str = "deployment"  # as Linkerd's label of it is called

    @property
    def account(self) -> str:
        return f"{self.app}-sa"


@dataclass(frozen=True, slots=True)
class Pod:
    workload: Workload
    number: int

    @property
    def name(self) -> str:
        return f"{self.workload.name}-{self.number}"


@dataclass(frozen=True, slots=True)
class Service:
    namespace: str
    name: str
    port: int = 80

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Durations in milliseconds; `grpc` the status of a gRPC call, "" for others; `mutual` whether it came with mutual TLS."""

    at: float
    client: Pod
    service: Service | None
    server: Pod
    status: str
    grpc: str
    whole: float
    first: float
    method: str
    mutual: bool
    denied: bool = False
    seen: bool = True  # by an Envoy of Cilium's
    quirk: str = ""


@dataclass(frozen=True, slots=True)
class Connection:
    """One TCP connection that carries no HTTP; bytes towards the client are sent, those from it received."""

    at: float
    until: float
    client: Pod
    service: Service
    server: Pod
    sent: int
    received: int
    mutual: bool
    denied: bool = False
    quirk: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    requests: list[Request] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    probed: bool = True  # by the kubelets

    def without(self, quirks: frozenset[str]) -> Log:
        """The log of a mesh where these do not happen."""
        log = Log(
            [one for one in self.requests if one.quirk not in quirks],
            [one for one in self.connections if one.quirk not in quirks],
            "probes" not in quirks,
        )
        if "mutual TLS" not in quirks:
            return log
        plain: tuple[list[Request], list[Connection]] = (
            [replace(one, mutual=False) for one in log.requests],
            [replace(one, mutual=False) for one in log.connections],
        )
        return Log(*plain, log.probed)


WEB, USERS = Workload("shop", "web", "web"), Workload("shop", "users", "users")
LEDGER = Workload("pay", "ledger", "ledger")
CANARY = Workload("shop", "users-v2", "users", "v2")
DB = Workload("shop", "db", "db", kind="statefulset")
CRON, LEGACY = Workload("ops", "cron", "cron", meshed=False), Workload("ops", "legacy", "legacy", meshed=False)
PODS = {
    one: tuple(Pod(one, number) for number in range(2 if one is USERS else 1)) for one in (WEB, USERS, LEDGER, CANARY, DB, CRON, LEGACY)
}
SERVICES = {one: Service(one.namespace, one.name) for one in (WEB, USERS, LEDGER, DB, LEGACY)}
ROUTES = {  # quirk: callers, and the Services with the workloads behind them
    "": ((WEB, USERS, LEDGER), tuple((SERVICES[one], one) for one in (WEB, USERS, LEDGER))),
    "unmeshed caller": ((CRON,), tuple((SERVICES[one], one) for one in (WEB, USERS, LEDGER))),
    "unmeshed server": ((WEB, LEDGER), ((SERVICES[LEGACY], LEGACY),)),
    "two workloads": ((WEB, LEDGER), ((SERVICES[USERS], CANARY),)),
    "two services": ((WEB, LEDGER), ((Service("shop", "users-internal"), USERS),)),
    "stateful server": ((WEB, LEDGER), ((SERVICES[DB], DB),)),
    "stateful caller": ((DB,), ((SERVICES[WEB], WEB),)),
    "two ports": ((WEB,), ((Service("pay", "ledger", 8080), LEDGER),)),
    "no service": ((WEB,), ((None, LEDGER),)),
    "unseen": ((WEB, USERS), ((SERVICES[LEDGER], LEDGER),)),
    "slow body": ((WEB, LEDGER), ((SERVICES[USERS], USERS),)),
    "failed gRPC": ((WEB, USERS), ((SERVICES[LEDGER], LEDGER),)),
    "refused by the application": ((WEB, USERS), ((SERVICES[LEDGER], LEDGER),)),
    "denied": ((WEB, USERS), ((SERVICES[LEDGER], LEDGER),)),
}


def traffic(seed: int) -> Log:
    """A log for a seed: plain requests, some with each quirk, and connections."""
    random = Random(seed)
    log = Log()
    for quirk, (callers, called) in ROUTES.items():
        for _ in range(48 if not quirk else 4):
            service, server = random.choice(called)
            log.requests.append(_request(random, quirk, random.choice(PODS[random.choice(callers)]), service, random.choice(PODS[server])))
        if quirk in ("", "unmeshed caller", "unmeshed server", "denied"):
            for _ in range(24 if not quirk else 4):
                service, server = random.choice(called)
                assert service is not None
                log.connections.append(
                    _connection(random, quirk, random.choice(PODS[random.choice(callers)]), service, random.choice(PODS[server]))
                )
    return log


def _request(random: Random, quirk: str, client: Pod, service: Service | None, server: Pod) -> Request:
    grpc = quirk == "failed gRPC" or (not quirk and random.random() < 0.25)
    status = "200" if grpc else random.choice(("200", "200", "200", "201", "404", "500", "503"))
    if quirk in ("refused by the application", "denied"):
        status = "403"
    whole = round(random.lognormvariate(3.5, 1.6), 3) + 0.25
    return Request(
        round(random.uniform(5, SECONDS - 5), 1),
        client,
        service,
        server,
        status,
        (random.choice(("7", "14")) if quirk == "failed gRPC" else "0") if grpc else "",
        whole,
        whole / 7 if quirk == "slow body" else whole,
        "POST" if grpc else random.choice(("GET", "GET", "POST")),
        client.workload.meshed and server.workload.meshed and random.random() < 0.7,
        quirk == "denied",
        quirk != "unseen",
        quirk,
    )


def _connection(random: Random, quirk: str, client: Pod, service: Service, server: Pod) -> Connection:
    opened = round(random.uniform(5, SECONDS - 5), 1)
    mutual = client.workload.meshed and server.workload.meshed and random.random() < 0.7
    lasted = random.uniform(1, 200)
    return Connection(
        opened,
        opened + lasted,
        client,
        service,
        server,
        random.randrange(10_000),
        random.randrange(1_000),
        mutual,
        quirk == "denied",
        quirk,
    )
