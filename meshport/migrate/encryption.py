"""How far mutual TLS goes, workload by workload, before and after, and why.

A port is `enforced` where everybody who is let in shows a certificate, whether transport asks for one (STRICT, `all-authenticated`) or every rule of the port
names identities; the probes that a mesh keeps open for the kubelet do not count. Where a mesh governs pods without enrolling them (Cilium), the installation
says what is encrypted, and only ztunnel shows whose connection it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from meshport.compare.access import mentioned, speaks_http
from meshport.dialects.base import Options
from meshport.documents import Bundle
from meshport.effective.access import Access, Effective, ports_of
from meshport.effective.admitted import ruled
from meshport.effective.identities import Identities
from meshport.effective.pieces import Piece, Unsayable
from meshport.ir.authorization import Entity, Labelled
from meshport.ir.base import Src
from meshport.ir.model import IR
from meshport.report.audited import Encryption, Protection, Spot, State, WorkloadProtection
from meshport.values.language import Language, LanguageTooLarge, union

STATES: tuple[State, ...] = ("enforced", "opportunistic", "off", "out of mesh", "unknown")
_RANK = {"enforced": 3, "opportunistic": 2, "off": 1, "out of mesh": 1}
_MOST_SPOTS = 3
_NOBODY = "nobody is let in"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a conversion: what its configuration does, the documents that leaf ids count in, and what its installation encrypts."""

    ir: IR
    access: Access
    bundle: Bundle
    options: Options
    name: str  # before or after
    node: str | None = (
        None  # what encrypts where the mesh governs every pod: wireguard, ipsec, ztunnel, "" for nothing; None where nobody says
    )
    files: dict[tuple[str, str, str | None, str], str] = field(
        default_factory=dict
    )  # where outputs are written, by group, kind, namespace and name


def matched(before: Side, after: Side) -> list[tuple[Effective, Effective]]:
    """The workloads that both sides have, in the order of their names."""
    known = {(item.workload.ref, item.workload.kind): item for item in after.access.workloads}
    found = [(item, known[key]) for item in before.access.workloads if (key := (item.workload.ref, item.workload.kind)) in known]
    return sorted(found, key=lambda pair: (pair[0].workload.ref, pair[0].workload.kind))


def declared_ports(item: Effective, other: Effective, before: Side, after: Side) -> list[int]:
    """The ports of a workload that either side declares."""
    return sorted({*ports_of([item], before.ir.world), *ports_of([other], after.ir.world)})


def known_ports(item: Effective, other: Effective, before: Side, after: Side) -> list[int]:
    """The ports that either side declares, or speaks of in a rule."""
    return sorted({*declared_ports(item, other, before, after), *mentioned(item), *mentioned(other)})


def coverage(before: Side, after: Side) -> Encryption:
    """Every workload of the bundle on both sides."""
    rows = [_row(item, other, before, after) for item, other in matched(before, after)]
    counts = [Counter(getattr(row, side).state for row in rows) for side in ("before", "after")]
    return Encryption(
        before={state: counts[0][state] for state in STATES},
        after={state: counts[1][state] for state in STATES},
        weaker=sum(1 for row in rows if row.outcome == "weaker"),
        workloads=rows,
    )


def _row(item: Effective, other: Effective, before: Side, after: Side) -> WorkloadProtection:
    ports = known_ports(item, other, before, after)
    whole = protection(item, None, before), protection(other, None, after)
    apart: dict[str, tuple[Protection, Protection]] = {}
    by_port = {port: (protection(item, port, before), protection(other, port, after)) for port in ports}
    for port, pair in by_port.items():
        if (pair[0].state, pair[1].state) != (whole[0].state, whole[1].state):
            apart[str(port)] = pair
    if ports and len(apart) == len(ports) and len({(one.state, two.state) for one, two in apart.values()}) == 1:
        whole, apart = next(iter(apart.values())), {"other ports": whole}  # what callers use stands for the workload
    elif not apart:
        whole = next((pair for pair in by_port.values() if _NOBODY not in (pair[0].reason, pair[1].reason)), whole)
    outcomes = {_outcome(one, two) for one, two in (whole, *apart.values())}
    return WorkloadProtection(
        namespace=item.workload.ref.namespace,
        workload=item.workload.ref.name,
        kind=item.workload.kind,
        before=whole[0],
        after=whole[1],
        outcome=cast("Any", next(word for word in ("weaker", "undecided", "stronger", "same") if word in outcomes)),
        ports=apart,
    )


def _outcome(before: Protection, after: Protection) -> str:
    if before.state == after.state:
        return "same"
    if "unknown" in (before.state, after.state):
        return "undecided"
    one, two = _RANK[before.state], _RANK[after.state]
    return "weaker" if two < one else "stronger" if two > one else "same"


def protection(item: Effective, port: int | None, side: Side) -> Protection:
    """The state of one port; None for those that nothing names."""
    if not side.ir.enrols:
        return _by_node(item, side)
    workload = item.workload
    if item.meshed is not True:
        said = workload.meshed
        if workload.host_network:
            return Protection(state="out of mesh", reason="its pods stand in the host's network, where no proxy is put", spots=[])
        if item.meshed is None:
            return Protection(
                state="unknown", reason=f"the bundle has no Namespace {workload.ref.namespace}, which may enrol its pods", spots=[]
            )
        reason = "its pods are kept out of the mesh" if said is not None else "neither its namespace nor its pods are enrolled"
        return Protection(state="out of mesh", reason=reason, spots=_spots(said.src if said is not None else frozenset(), side))
    if workload.bypasses(port) and workload.bypassed is not None:
        return Protection(state="off", reason=f"port {port} passes by the proxy", spots=_spots(workload.bypassed.src, side))
    mode = item.mode(port)
    if mode.value == "disable":
        return Protection(state="off", reason="mutual TLS is switched off", spots=_spots(mode.src, side))
    if mode.value == "strict":
        return Protection(state="enforced", reason="plaintext is refused", spots=_spots(mode.src, side))
    return _by_rules(item, port, side)


def _by_rules(item: Effective, port: int | None, side: Side) -> Protection:
    """Transport takes plaintext: whether the rules of the port let a caller without a certificate in."""
    try:
        pieces = ruled(item, port, speaks_http(item, port, side.ir), side.options.cluster_networks)
    except (Unsayable, LanguageTooLarge, ValueError) as error:
        return Protection(state="opportunistic", reason=f"plaintext may be let in: {error}", spots=[])
    policies = item.at(port)
    src: Src = frozenset().union(*(policy.ref.src for policy in policies)) if policies else item.admission.src
    nameless = next((piece for piece in pieces if not named(piece.who) and not _probe(piece, item, port)), None)
    if nameless is not None:
        src = nameless.src or src
        reason = "callers without a certificate are let in as well" if policies or item.admission.src else "nothing refuses plaintext"
        return Protection(state="opportunistic", reason=reason, spots=_spots(src, side))
    if not pieces:
        return Protection(state="enforced", reason=_NOBODY, spots=_spots(src, side))
    reason = "every rule asks for an identity" if policies else "what no policy is for asks for an identity"
    return Protection(state="enforced", reason=reason, spots=_spots(src, side))


def _probe(piece: Piece, item: Effective, port: int | None) -> bool:
    """Whether a set of requests is what the kubelet's probes of the port ask for, and nothing else."""
    asked = [probe for probe in item.workload.probes if probe.port == port]
    paths = [Language.exact(probe.path) for probe in asked if probe.kind == "http"]
    paths += [Language.exact("/grpc.health.v1.Health/Check") for probe in asked if probe.kind == "grpc"]
    return piece.path is not None and bool(paths) and piece.path.issubset(union(*paths))


def named(who: Identities) -> bool:
    """Whether every peer of a set shows a certificate."""
    return who.include is not None and not any(isinstance(peer, Entity | Labelled) for peer in who.include)


def _by_node(item: Effective, side: Side) -> Protection:
    """Where every pod is governed, encryption is a setting of the installation."""
    if item.workload.host_network:
        return Protection(state="off", reason="its pods stand in the host's network", spots=[])
    spots = _installed(side)
    if side.node is None:
        return Protection(
            state="unknown", reason="the bundle does not show how the mesh was installed, which decides what is encrypted", spots=[]
        )
    if side.node == "ztunnel":
        return Protection(
            state="enforced", reason="ztunnel gives each connection mutual TLS under the workload's own identity", spots=spots
        )
    if side.node in ("wireguard", "ipsec"):
        what = {"wireguard": "WireGuard", "ipsec": "IPsec"}[side.node]
        reason = f"{what} encrypts between nodes: traffic on one node is not encrypted, and no workload shows a certificate"
        return Protection(state="opportunistic", reason=reason, spots=spots)
    return Protection(state="off", reason="the installation encrypts nothing", spots=[])


def _installed(side: Side) -> list[Spot]:
    found = [setting.value for setting in side.ir.settings if setting.chart == "cilium" and setting.path.startswith("encryption")]
    return _spots(frozenset().union(*(fact.src for fact in found)), side) if found else []


def node_encryption(ir: IR, helm: dict[str, Any] | None = None) -> str | None:
    """What an installation encrypts, of its own settings and of Helm values that are to be set beside them; None where there are neither."""
    values: dict[str, Any] = {setting.path: setting.value.value for setting in ir.settings if setting.chart == "cilium"}
    wanted = (helm or {}).get("encryption", {})
    values.update({f"encryption.{key}": value for key, value in wanted.items()} if isinstance(wanted, dict) else {})
    if not values:
        return None
    if str(values.get("encryption.enabled", "")).lower() != "true":
        return ""
    return str(values.get("encryption.type", "ipsec"))


def _spots(src: Src, side: Side) -> list[Spot]:
    return list(_places(src, side))[:_MOST_SPOTS]


def _places(src: Src, side: Side) -> Iterator[Spot]:
    said = set()
    for leaf in sorted(src):
        if not 0 <= leaf < side.bundle.leaf_count:
            continue
        document = side.bundle.owner(leaf)
        file = document.file or side.files.get((document.group, document.kind, document.namespace, document.name))
        spot = Spot(side=cast("Any", side.name), file=file, line=side.bundle.line(leaf), path=side.bundle.path(leaf))
        key = (spot.file, spot.line, spot.path)
        if key not in said:
            said.add(key)
            yield spot
