"""Client certificates at a Gateway that another class takes over. What the class, or the release of the API, has another word for is said in that; a listener that
would be open without its check is left out.

Since 1.4 the API says it by port, for HTTPS alone (GEP-91); before, a listener said it itself. Cilium's Gateways ask for no certificate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshport.dialects.gateway_api.listeners import TERMINATE_MODE, checks_clients, served_by_istio
from meshport.findings import Affected
from meshport.ir import listening
from meshport.ir.base import NOWHERE, Src
from meshport.ir.routing import ingress_subject
from meshport.mapping.paths import leaves_below
from meshport.mapping.table import in_range

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.dialects.output import Obj, Output
    from meshport.ir.model import Gateway, Listener

_BY_PORT = "1.4"
_CHECK = "the check of client certificates, which "


@dataclass(slots=True)
class Handover:
    """What becomes of the listeners of a Gateway, by their place: why one is left out, and the checks that are said for its port now."""

    gateway: Gateway
    listeners: list[Any]
    left_out: dict[int, str] = field(default_factory=dict)
    moved: dict[int, Any] = field(default_factory=dict)
    overruled: set[int] = field(default_factory=set)  # those whose own check goes, as it refuses nobody or the Gateway says another
    added: str = ""  # why what ListenerSets add is left out
    unread: bool = False  # whether the class goes by nothing that the Gateway says of clients
    by_port: bool = True  # whether the release of the API has checks by port

    @property
    def nothing_left(self) -> bool:
        return bool(self.left_out) and len(self.left_out) == len(self.listeners)


def plan(gateway: Gateway, out: Output, options: Options) -> Handover:
    """What becomes of each listener under the class that is asked for."""
    document = out.bundle.documents[gateway.document]
    spec, name = document.value["spec"], options.gateway_class or ""
    found = Handover(gateway, [item for item in spec.get("listeners") or () if isinstance(item, dict)], unread=not checks_clients(name))
    release = options.target_version if out.target == "gateway-api" else out.table.gateway_release(out.target, options.target_version)
    left = served_by_istio(gateway.implementation.value, out.bundle)
    by_port = found.by_port = release is None or in_range(release, _BY_PORT, None)
    for number, item in enumerate(found.listeners):
        tls, known = item.get("tls") or {}, _read(gateway, document.leaves["spec"]["listeners"][number])
        option = (tls.get("options") or {}).get(TERMINATE_MODE) if left and not served_by_istio(name, out.bundle) else None
        check = known.check if known is not None else None
        asked = check is not None and check.mode.value != "unchecked"
        if isinstance(option, str) and option.startswith("ISTIO_"):
            found.left_out[number] = f"the TLS mode {option}"
        elif asked and found.unread:
            found.left_out[number] = f"{_CHECK}Cilium's Gateways do not do"
        elif asked and option is not None and not _by_itself(spec, tls, item):
            found.left_out[number] = f"{_CHECK}{TERMINATE_MODE} asks of Istio alone"
        elif asked and not by_port and "frontendValidation" not in tls:
            found.left_out[number] = f"{_CHECK}Gateway API {release} says of a listener and not of a Gateway"
        elif "frontendValidation" in tls and by_port and not found.unread:
            _move(found, number, spec, asked)
    if any(one.check is not None and one.check.mode.value != "unchecked" for one in gateway.added) and (found.unread or not by_port):
        found.added = f"{_CHECK}the class {name} does not do"
    return found


def _read(gateway: Gateway, leaves: Any) -> Listener | None:
    own = _below(leaves)
    return next((one for one in gateway.listeners if one.port.src <= own), None)


def _by_itself(spec: dict[str, Any], tls: dict[str, Any], item: dict[str, Any]) -> bool:
    """Whether the API's own words ask for a valid certificate too, as an option of Istio's does."""
    return (tls.get("options") or {}).get(TERMINATE_MODE) == "MUTUAL" and (_said(spec, item) or {}).get("mode") == "AllowValidOnly"


def _said(spec: dict[str, Any], item: dict[str, Any]) -> dict[str, Any] | None:
    """What a Gateway says of clients for the port of a listener, with the mode that holds without a word of it."""
    frontend = (spec.get("tls") or {}).get("frontend") or {}
    default = (frontend.get("default") or {}).get("validation")
    ports = {one.get("port"): (one.get("tls") or {}).get("validation") for one in frontend.get("perPort") or ()}
    said = ports.get(item.get("port"), default) if item.get("protocol") == "HTTPS" else None
    return {"mode": "AllowValidOnly", **said} if said else None


def _move(found: Handover, number: int, spec: dict[str, Any], asked: bool) -> None:
    """Say the check of a listener for its port, where all listeners for HTTPS there agree."""
    item = found.listeners[number]
    check = item["tls"]["frontendValidation"]
    beside = [one for one in found.listeners if one.get("port") == item.get("port") and one.get("protocol") == "HTTPS"]
    alike = all((one.get("tls") or {}).get("frontendValidation") == check for one in beside)
    if item.get("protocol") == "HTTPS" and alike and _said(spec, item) is None:
        found.moved[number] = check
    else:
        found.overruled.add(number)
    if asked and number not in found.moved:
        why = (
            "holds for a whole port since Gateway API 1.4, where other listeners say otherwise"
            if item.get("protocol") == "HTTPS"
            else "is for HTTPS alone since Gateway API 1.4"
        )
        found.left_out[number] = _CHECK + why


def say(found: Handover, out: Output, *, looser: bool) -> None:
    """A finding for each listener that is left out, or, where access may be widened, for each that is open from now on."""
    document, ref = out.bundle.documents[found.gateway.document], found.gateway.ref.value
    leaves, affects = document.leaves["spec"], (Affected(ref.namespace, ref.name),)
    checks = _below((leaves.get("tls") or {}).get("frontend") or {})
    whole = _below(leaves) if found.nothing_left else NOWHERE
    rest = "; no other is left, and the Gateway is not carried over" if found.nothing_left else ""
    for number, reason in found.left_out.items():
        src = _below(leaves["listeners"][number])
        port = found.listeners[number].get("port")
        explains = listening.explains(
            ref, None if found.nothing_left else [item for item in found.gateway.listeners if item.port.src <= src]
        )
        if (
            looser
            and found.unread
            and out.target == "cilium"
            and TERMINATE_MODE not in (found.listeners[number]["tls"].get("options") or {})
        ):
            continue  # said of the fields that Cilium does not read
        if looser:
            own = _below((leaves["listeners"][number].get("tls") or {}).get("frontendValidation") or {})
            out.finding(
                "MP708", own, document=found.gateway.document, disposition="dropped" if own else None, affects=affects, explains=explains, severity="error",
                effect="widens", gateway=str(ref), host=f"{reason}, on port {port},",
            )  # fmt: skip
            continue
        out.finding(
            "MP709", src | whole | (checks if found.unread else NOWHERE), document=found.gateway.document, disposition="dropped", affects=affects, gateway=str(ref),
            explains=frozenset({(ingress_subject(ref), "*")}) | explains, port=port, reason=reason + rest,
        )  # fmt: skip
    for item in found.gateway.added if found.added and not looser else ():
        out.finding(
            "MP709", item.port, document=out.bundle.number(min(item.port.src)), disposition="dropped", affects=affects, gateway=str(ref),
            explains=listening.explains(ref, [item]), port=item.port.value, reason=found.added,
        )  # fmt: skip


def write(found: Handover, obj: Obj, out: Output, *, looser: bool) -> None:
    """Take the listeners that are left out of a Gateway, and say the checks of the others for their ports."""
    document = out.bundle.documents[found.gateway.document]
    leaves, spec = document.leaves["spec"], document.value["spec"]
    gone = {} if looser else found.left_out
    if found.left_out or found.moved or found.overruled:
        obj.drop(("spec", "listeners"), NOWHERE)
        obj.set(("spec", "listeners"), [], NOWHERE)
        kept = [number for number in range(len(found.listeners)) if number not in gone]
        for position, number in enumerate(kept):
            item, shadow = found.listeners[number], leaves["listeners"][number]
            if number in found.overruled or number in found.moved or number in found.left_out:
                item = {**item, "tls": {key: value for key, value in item["tls"].items() if key != "frontendValidation"}}
                shadow = {**shadow, "tls": {key: value for key, value in shadow["tls"].items() if key != "frontendValidation"}}
            obj.set(("spec", "listeners", position), item, _below(shadow))
    place = len(((spec.get("tls") or {}).get("frontend") or {}).get("perPort") or ())
    written: dict[int, int] = {}
    if found.moved and "frontend" not in (spec.get("tls") or {}):
        obj.set(
            ("spec", "tls", "frontend", "default"), {}, *(_below(leaves["listeners"][number]["tls"]) for number in found.moved)
        )  # a must
    for number, check in found.moved.items():
        src, port = _below(leaves["listeners"][number]["tls"]["frontendValidation"]), found.listeners[number]["port"]
        index = written.setdefault(port, place + len(written))
        obj.set(("spec", "tls", "frontend", "perPort", index), {"port": port, "tls": {"validation": check}}, src)
    if ((gone and found.unread) or not found.by_port) and (spec.get("tls") or {}).get("frontend"):
        obj.drop(("spec", "tls") if set(spec["tls"]) == {"frontend"} else ("spec", "tls", "frontend"), _below(leaves["tls"]["frontend"]))
    if found.added and not looser and spec.get("allowedListeners"):
        obj.drop(("spec", "allowedListeners"), _below(leaves["allowedListeners"]))


def begin(found: Handover, out: Output, name: str) -> None:
    """Say of a Gateway whose class asked for no certificate that the one which takes over does."""
    document, ref = out.bundle.documents[found.gateway.document], found.gateway.ref.value
    if found.unread or checks_clients(found.gateway.implementation.value):
        return
    for number, item in enumerate(found.listeners):
        own = (item.get("tls") or {}).get("frontendValidation")
        if own and found.by_port and _said(document.value["spec"], item) is None:
            found.moved[number] = own  # nobody is let in by it who was not before
        known = _read(found.gateway, document.leaves["spec"]["listeners"][number])
        said = own or _said(document.value["spec"], item)
        if said and known is not None and said.get("mode") != "AllowInsecureFallback":
            out.finding(
                "MP774", document=found.gateway.document, affects=(Affected(ref.namespace, ref.name),), explains=listening.explains(ref, [known]),
                gateway=str(ref), port=item.get("port"), name=name,
            )  # fmt: skip
    for one in found.gateway.added:
        said = _said(document.value["spec"], {"port": one.port.value, "protocol": one.protocol.value})
        if said and said["mode"] != "AllowInsecureFallback":
            out.finding(
                "MP774", document=found.gateway.document, affects=(Affected(ref.namespace, ref.name),), explains=listening.explains(ref, [one]),
                gateway=str(ref), port=one.port.value, name=name,
            )  # fmt: skip


def _below(leaves: Any) -> Src:
    return frozenset(leaf for leaf, _ in leaves_below(leaves, ()))
