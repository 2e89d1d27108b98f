"""Gateways in the Gateway API: those that are stay, and a mesh's own become Gateways with a listener for each host of a server.

A listener whose protection would be lost (a client certificate that is asked for, the mesh's own TLS) is left out rather than opened.
https://gateway-api.sigs.k8s.io/reference/spec/#gateway
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from meshport.dialects import naming
from meshport.dialects.entrances import judging
from meshport.dialects.gateway_api import client_checks
from meshport.findings import Affected
from meshport.ir import listening
from meshport.ir.authorization import Policy
from meshport.ir.base import NOWHERE, Fact, Ref
from meshport.ir.model import Gateway, Listener
from meshport.ir.routing import gateway_connections, gather, ingress_subject
from meshport.mapping.paths import leaves_below

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Obj, Output
    from meshport.ir.model import IR
    from meshport.ir.world import World

API = "gateway.networking.k8s.io/v1"
_ASKED = {"http": ("HTTP", "HTTPS"), "grpc": ("HTTP", "HTTPS"), "tls": ("TLS",), "tcp": ("TCP", "TLS")}


@dataclass(frozen=True, slots=True)
class Section:
    """A listener by name, with its host ("" for every host), whether it only redirects to HTTPS, its port and the API's protocol."""

    name: str
    hostname: str
    redirects: bool = False
    port: int = 0
    protocol: str = ""


@dataclass(slots=True)
class Entry:
    """A Gateway that routes may name as their parent."""

    ref: Ref
    sections: list[Section] = field(default_factory=list)
    written: bool = True  # False: no listener of it could be written, so that nothing can hang on it

    @property
    def takes(self) -> bool:
        """Whether routes may hang on it: it is there, and not all that is left of its listeners sends requests on to https."""
        return self.written and not (self.sections and all(item.redirects for item in self.sections))

    def serves(self, protocol: str) -> bool:
        """Whether rules for `http`, `tls` or `tcp` may hang on it. What passes TLS on asks no rule for requests."""
        return self.takes and (not self.sections or any(item.protocol in _ASKED[protocol] for item in self.sections))


def lower(ir: IR, out: Output, options: Options) -> dict[Ref, Entry]:
    """Write the Gateways of a mesh's own words, and give all that routes may hang on."""
    found: dict[Ref, Entry] = {}
    for gateway in sorted(ir.gateways, key=lambda item: (item.kind, item.ref.value)):
        ref = gateway.ref.value
        if gateway.kind != "networking.istio.io":
            out.imply("stays as it is", _spec(out, gateway.document) - gateway.implementation.src)
            found[ref] = Entry(ref)
            if options.gateway_class and not gateway.waypoint and gateway.implementation.value != options.gateway_class:
                found[ref] = Entry(ref, written=handed_over(gateway, ir, out, options))
            else:
                out.imply("stays as it is", gateway.implementation)
        else:
            found[ref] = _converted(gateway, ir, out, options)
    return found


def handed_over(gateway: Gateway, ir: IR, out: Output, options: Options) -> bool:
    """Name the class that takes a Gateway over. It leaves where policies of the mesh refuse requests at its pods, and where each of its listeners asks clients for
    a certificate and the class asks for none."""
    if guarded(gateway, ir, out, options):
        out.remove(
            gateway.document,
            "Istio goes, and the class that takes over knows none of the policies at its pods; delete it once clients use another entrance",
        )
        return False
    found, looser = client_checks.plan(gateway, out, options), options.on_loss == "looser"
    client_checks.say(found, out, looser=looser)
    if found.nothing_left and not looser:
        out.remove(
            gateway.document,
            "Istio goes, and the class that takes over checks no client certificates; delete it once clients use another entrance",
        )
        return False
    obj = out.change(gateway.document, group=f"gateway {gateway.ref.value.name}", rank=60)
    obj.set(("spec", "gatewayClassName"), options.gateway_class, gateway.implementation)
    ref, was = gateway.ref.value, gateway.implementation
    affects = (Affected(ref.namespace, ref.name),)
    out.finding("MP771", document=gateway.document, affects=affects, gateway=str(ref), value=was.value, name=options.gateway_class)
    client_checks.begin(found, out, options.gateway_class or "")
    client_checks.write(found, obj, out, looser=looser)
    return True


def hand_over(gateway: Gateway, ir: IR, out: Output, options: Options) -> bool:
    """Write the class that is asked for into a Gateway that Cilium serves: it may, beside another mesh, but need not."""
    if not options.gateway_class or ir.mesh != "cilium" or gateway.implementation.value != "cilium" or options.gateway_class == "cilium":
        return False
    obj = out.change(gateway.document, group=f"gateway {gateway.ref.value.name}", rank=60)
    obj.set(("spec", "gatewayClassName"), options.gateway_class, gateway.implementation)
    ref = gateway.ref.value
    affects = (Affected(ref.namespace, ref.name),)
    out.finding("MP346", document=gateway.document, affects=affects, gateway=str(ref), name=options.gateway_class)
    found = client_checks.plan(gateway, out, options)
    client_checks.begin(found, out, options.gateway_class)
    client_checks.write(found, obj, out, looser=True)
    return True


def guards(gateway: Gateway, ir: IR) -> tuple[list[Policy], list[Policy]]:
    """Of the policies that judge requests at the pods of a Gateway in a mesh's own words those that refuse somebody, and those that do not."""
    found = judging(gateway, ir)
    allows = [policy for policy in found if policy.action.value == "allow"]
    whole = any(not rule.conditions and not rule.unless for policy in allows for rule in policy.rules)
    idle = allows if whole else []  # one that admits all makes the others moot
    return [policy for policy in found if policy not in idle], idle


def guarded(gateway: Gateway, ir: IR, out: Output, options: Options, outcome: str = "") -> bool:
    """Whether a Gateway is left out because of the policies at its pods: the pods of another class have their own labels, so that none selects them.

    With an `outcome` it is left out for another reason, and the policies are lost with it.
    """
    found, idle = guards(gateway, ir)
    if not found:
        if not outcome:
            out.decide(
                "what takes over from the gateway lets everybody in as well", *(policy.sources for policy in idle if policy in ir.entrance)
            )
        return False
    kept = options.on_loss == "looser" and not outcome
    ref = gateway.ref.value
    whole = NOWHERE if kept or outcome else gather(gateway.ref, gateway.implementation) | _spec(out, gateway.document)
    alone = [
        policy
        for policy in found
        if policy in ir.entrance or all(gateway.selects(pod.labels) for pod in ir.world.selected(policy.subject.value))
    ]
    out.finding(
        "MP345", whole, *(policy.sources for policy in alone), document=gateway.document, disposition="manual" if outcome else "dropped",
        affects=(Affected(ref.namespace, ref.name),), effect="widens" if kept else "narrows", feature="gateway.selector", gateway=str(ref),
        explains=(frozenset({(ingress_subject(ref), "*")}) if gateway.kind.startswith("gateway.networking") else frozenset())
        | (frozenset() if kept else listening.explains(ref)),
        outcome=outcome or ("its entrance is open to everybody" if kept else "it is left out"),
        policies=", ".join(sorted({f"{policy.kind} {policy.ref.value}" for policy in found})),
    )  # fmt: skip
    return not kept


def _spec(out: Output, number: int) -> frozenset[int]:
    return frozenset(leaf for leaf, _ in leaves_below(out.bundle.documents[number].leaves.get("spec", {}), ()))


def way_out(gateway: Gateway, ir: IR, out: Output) -> bool:
    """Whether a Gateway stands where traffic leaves the mesh, which goes: as a Gateway of the Gateway API it would be an entrance. That is said."""
    ref = gateway.ref.value
    if ref not in ir.ways_out:
        return False
    hosts = sorted({fact.value.rpartition("/")[2] for item in gateway.listeners for fact in item.hosts})
    out.finding(
        "MP369", gather(gateway.ref, gateway.implementation) | _spec(out, gateway.document), document=gateway.document, disposition="dropped",
        affects=(Affected(ref.namespace, ref.name),), explains=frozenset({(ingress_subject(ref), "*")}) | listening.explains(ref), feature="gateway.selector", gateway=str(ref),
        hosts=", ".join(hosts) or "every host",
    )  # fmt: skip
    return True


def _converted(gateway: Gateway, ir: IR, out: Output, options: Options) -> Entry:
    ref, because = gateway.ref.value, gather(gateway.ref)
    entry = Entry(ref, written=False)
    if way_out(gateway, ir, out):
        out.remove(gateway.document, "the mesh's egress gateway goes with it")
        return entry
    affects = (Affected(ref.namespace, ref.name),)
    if guarded(gateway, ir, out, options):
        return entry
    places = [place for item in gateway.listeners for place in _places(item, gateway, out, affects)]
    if not places:
        return entry
    entry.written = True
    entry.ref = Ref(ref.namespace, out.free(API, "Gateway", ref.namespace, ref.name))
    if entry.ref != ref:  # both are one by name to whoever compares
        out.finding(
            "MP772", document=gateway.document, affects=affects, gateway=str(ref), name=str(entry.ref),
            explains=frozenset((subject(one), "*") for one in (ref, entry.ref) for subject in (ingress_subject, gateway_connections))
            | listening.explains(ref) | listening.explains(entry.ref),
        )  # fmt: skip
    obj = out.object(API, "Gateway", entry.ref, owner=gateway.document, group=f"gateway {entry.ref.name}", rank=60, because=because)
    obj.set(("spec", "gatewayClassName"), options.gateway_class or "istio", because)
    selected = gateway.implementation.value or "of every gateway"
    out.lost(gateway.implementation, document=gateway.document, affects=affects, value=selected)
    if not options.gateway_class:
        out.finding("MP706", document=gateway.document, affects=affects, gateway=str(ref))
    _say_home(gateway, ir, out, options)
    seen: set[tuple[int, str, str]] = set()
    for item, host in places:
        name, hostname = _host(host.value if host is not None else "*")
        protocol = listening.protocol(item)
        key = (item.port.value, "HTTP" if protocol == "HTTP" else "TLS" if protocol in ("HTTPS", "TLS") else "TCP", hostname)
        if key in seen:
            out.finding(
                "MP708",
                host or item.port,
                document=gateway.document,
                disposition="dropped",
                affects=affects,
                explains=listening.explains(ref, [replace(item, hosts=() if host is None else (host,))]),
                gateway=str(ref),
                host=hostname or "*",
            )
            continue
        seen.add(key)
        section = _section(entry, item, hostname)
        _listener(obj, len(entry.sections), section, item, host, name, hostname)
        if (away := home_of_secrets(gateway, ir.world) or ref.namespace) != ref.namespace:
            _certificates_of(away, obj, len(entry.sections), item, gateway, out)
        redirects = item.redirect is not None and item.redirect.value
        entry.sections.append(Section(section, hostname, redirects, item.port.value, listening.spoken(item)))
        if redirects:
            _redirect(obj, section, item, out, gateway)
    for item in gateway.listeners:
        if item.redirect is not None and not item.redirect.value:
            out.ignore("no redirect is the default", item.redirect)
    obj.note(f"from Gateway {ref}")
    out.remove(gateway.document, "its listeners are in the Gateway of the Gateway API; delete it once clients use the new address")
    return entry


def _places(item: Listener, gateway: Gateway, out: Output, affects: tuple[Affected, ...]) -> list[tuple[Listener, Fact[str] | None]]:
    """The listener for each of its hosts; [] where it cannot be said, after saying so."""
    ref, mode = gateway.ref.value, item.tls.value if item.tls is not None else ""
    protocol = listening.protocol(item)
    reason = ""
    if mode in ("MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL", "AUTO_PASSTHROUGH"):
        reason = f"the TLS mode {mode}"
    elif (protocol == "HTTPS" and mode != "PASSTHROUGH" and not item.certificates) or (
        protocol == "TLS" and mode != "PASSTHROUGH" and not item.certificates
    ):
        reason = "a certificate in files"
    elif protocol == "TCP" and item.protocol.value.upper() not in listening.BYTES:
        reason = f"the protocol {item.protocol.value}"
    if reason:
        src = gather(item)
        out.finding(
            "MP709", src, document=gateway.document, disposition="dropped", affects=affects, explains=frozenset({(ingress_subject(ref), "*")}) | listening.explains(ref, [item]),
            gateway=str(ref), port=item.port.value, reason=reason,
        )  # fmt: skip
        return []
    for path, fact in item.extras:
        if out.lost(fact, document=gateway.document, affects=affects) is None and not (fact.src and fact.src <= set(out.irrelevant)):
            out.finding(
                "MP708",
                fact,
                document=gateway.document,
                disposition="dropped",
                affects=affects,
                gateway=str(ref),
                host=f"{path} {fact.value}",
            )
    hosts = item.hosts if protocol != "TCP" else ()
    if protocol == "TCP":
        out.ignore("a TCP listener is for every host", gather(item.hosts))
    return [(item, host) for host in hosts] or [(item, None)]


def _host(text: str) -> tuple[str, str]:
    """The namespace whose routes may claim the host ("" for any, "." for the gateway's own), and the host ("" for every one)."""
    namespace, _, host = text.rpartition("/")
    return ("" if namespace == "*" else namespace), ("" if host == "*" else host)


def _section(entry: Entry, item: Listener, hostname: str) -> str:
    wanted = naming.name(item.name.value if item.name is not None else f"{listening.protocol(item)}-{item.port.value}")
    known = {section.name for section in entry.sections}
    if wanted in known and hostname:
        wanted = naming.name(wanted, hostname.replace("*", "any"))
    return naming.unique(wanted, known.__contains__)


def _listener(obj: Obj, number: int, section: str, item: Listener, host: Fact[str] | None, namespace: str, hostname: str) -> None:
    place: tuple[str | int, ...] = ("spec", "listeners", number)
    protocol, mode = listening.spoken(item), item.tls.value if item.tls is not None else ""
    obj.set((*place, "name"), section, item.name, item.port)
    obj.set((*place, "port"), item.port.value, item.port)
    obj.set((*place, "protocol"), protocol, item.protocol)
    if hostname:
        obj.set((*place, "hostname"), hostname, host)
    if protocol in ("HTTPS", "TLS"):
        obj.set((*place, "tls", "mode"), "Passthrough" if mode == "PASSTHROUGH" else "Terminate", item.tls or item.protocol)
        if mode != "PASSTHROUGH":
            for index, fact in enumerate(item.certificates):
                obj.set((*place, "tls", "certificateRefs", index, "name"), fact.value, fact)
    allowed: dict[str, Any] = {"from": "All"}
    if namespace == "." or (item.redirect is not None and item.redirect.value):  # what redirects is the Gateway's own route
        allowed = {"from": "Same"}
    elif namespace:
        allowed = {"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    obj.set((*place, "allowedRoutes", "namespaces"), allowed, host if host is not None else item.port)


def home_of_secrets(gateway: Gateway, world: World) -> str:
    """The namespace of what `credentialName` of an Istio Gateway names, which is that of the pods that serve it; "" where nothing shows one."""
    homes = {pod.ref.namespace for pod in gateway.pods(world)}
    return homes.pop() if len(homes) == 1 else ""


def _say_home(gateway: Gateway, ir: IR, out: Output, options: Options) -> None:
    """Say where the certificates of a Gateway are looked for, if nothing shows where they are: in the installation's namespace most gateways are at home."""
    ref = gateway.ref.value
    names = sorted({fact.value for item in gateway.listeners for fact in item.certificates})
    if names and not home_of_secrets(gateway, ir.world) and ref.namespace != options.root_namespace:
        out.finding(
            "MP775", document=gateway.document, affects=(Affected(ref.namespace, ref.name),), gateway=str(ref), names=", ".join(names),
            namespace=ref.namespace, selector=gateway.implementation.value or "none",
        )  # fmt: skip


def _certificates_of(home: str, obj: Obj, number: int, item: Listener, gateway: Gateway, out: Output) -> None:
    """Name the Secrets with their namespace, and let the Gateway refer to them there."""
    listed = obj.value["spec"]["listeners"][number].get("tls", {}).get("certificateRefs", [])
    for index, fact in enumerate(item.certificates[: len(listed)]):
        obj.set(("spec", "listeners", number, "tls", "certificateRefs", index, "namespace"), home, fact)
        grant = out.object(
            "gateway.networking.k8s.io/v1beta1", "ReferenceGrant", Ref(home, naming.name(obj.ref.name, "certificates")), owner=gateway.document,
            group=f"gateway {obj.ref.name}", rank=59, because=fact,
        )  # fmt: skip
        grant.set(("spec", "from", 0), {"group": API.partition("/")[0], "kind": "Gateway", "namespace": obj.ref.namespace}, fact)
        known = grant.value["spec"].get("to", [])
        if all(entry["name"] != fact.value for entry in known):
            grant.set(("spec", "to", len(known)), {"group": "", "kind": "Secret", "name": fact.value}, fact)


def _redirect(obj: Obj, section: str, item: Listener, out: Output, gateway: Gateway) -> None:
    """Plaintext is answered with the same address under https, with the code that Istio uses."""
    assert item.redirect is not None
    ref = obj.ref
    route = out.object(
        API, "HTTPRoute", Ref(ref.namespace, naming.name(ref.name, "https-redirect")), owner=gateway.document,
        group=f"gateway {ref.name}", rank=61, because=item.redirect,
    )  # fmt: skip
    parents = route.value.get("spec", {}).get("parentRefs", [])
    route.set(("spec", "parentRefs", len(parents)), {"name": ref.name, "sectionName": section}, item.redirect)
    if not parents:
        rule = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]}
        route.set(("spec", "rules", 0), rule, item.redirect)


__all__ = ["NOWHERE", "Entry", "Section", "lower"]
