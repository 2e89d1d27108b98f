"""What Gateways of the Gateway API listen for, read: their own listeners, those that ListenerSets add, and the certificates that clients have to show.

https://gateway-api.sigs.k8s.io/reference/spec/#gateway, GEP-91 (client certificates), GEP-1713 (ListenerSet)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api import attachment
from meshport.dialects.gateway_api.unread import reads_sets
from meshport.ir.base import Fact, Ref
from meshport.ir.model import ClientCheck, Gateway, Listener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshport.dialects.base import Options
    from meshport.documents import Bundle
    from meshport.ir.world import World

TERMINATE_MODE = "gateway.istio.io/tls-terminate-mode"
_MODES = {"AllowValidOnly": "required", "AllowInsecureFallback": "unchecked"}
_OPTIONS = {"MUTUAL": "required", "OPTIONAL_MUTUAL": "optional"}


def checks_clients(name: str) -> bool:
    """Whether the Gateways of a class ask clients for certificates at all: Cilium's do not (docs.cilium.io, gateway-api; cilium/cilium#45783)."""
    return name.partition("-")[0] != "cilium"


def served_by_istio(name: str, bundle: Bundle) -> bool:
    """Whether a class is Istio's, by its name or by the GatewayClass that the bundle has."""
    controllers = (
        document.value.get("spec") or {} for document in bundle.documents if document.kind == "GatewayClass" and document.name == name
    )
    return name.startswith("istio") or any(str(spec.get("controllerName", "")).startswith("istio.io/") for spec in controllers)


def gateway(root: Cursor, ref: Fact[Ref]) -> Gateway:
    """A Gateway of either API with what the Gateway API says of its listeners."""
    name = root.text("spec", "gatewayClassName")
    if name is None:
        selector = root.at("spec", "selector")
        shown = ",".join(f"{key}={item.value}" for key, item in selector.items())
        name = Fact(shown, selector.src, "gateway.selector")
    found = Gateway(ref, root.document.api_version.rpartition("/")[0], root.number, name)
    found.listeners = tuple(_listeners(root, root, (ref.value.namespace,) * 2))
    return found


def add_sets(sets: list[Cursor], gateways: list[Gateway], world: World, options: Options, family: str) -> None:
    """Give Gateways the listeners of the ListenerSets that they admit; without a word of it a Gateway admits none."""
    known = {one.ref.value: one for one in gateways if one.kind == attachment.GROUP}
    for root in sets:
        parent = root.at("spec", "parentRef")
        home = root.document.namespace or options.default_namespace
        name, place, kind = parent.text("name"), parent.text("namespace"), parent.text("kind")
        there = (
            known.get(Ref(place.value if place else home, name.value))
            if name is not None and (not kind or kind.value == "Gateway")
            else None
        )
        if there is None or (there.implementation.value.partition("-")[0] == family and not reads_sets(root, family)):
            continue  # of another class another implementation reads them
        top = Cursor.root(root.bound, there.document)
        if attachment.from_there(attachment.admitted(top.at("spec", "allowedListeners"), "None"), there.ref.value.namespace, home, world):
            there.added += tuple(_listeners(root, top, (home, there.ref.value.namespace)))


def _listeners(root: Cursor, top: Cursor, homes: tuple[str, str]) -> Iterator[Listener]:
    """The listeners of a Gateway, or of a set beside the Gateway `top`, which says what clients have to show; with the namespaces of both."""
    of_istio = served_by_istio(str(top.at("spec", "gatewayClassName").value), root.bound.bundle)
    for item in root.each("spec", "listeners"):
        number, protocol = item.number_at("port"), item.text("protocol")
        if number is None or protocol is None:
            continue
        host, mode = item.text("hostname"), item.text("tls", "mode")
        option = item.text("tls", "options", TERMINATE_MODE) if of_istio else None
        refs = [ref for ref in item.each("tls", "certificateRefs") if ref.text("name") is not None]
        yield Listener(
            item.text("name"),
            number,
            protocol,
            (host,) if host is not None else (),
            option if option is not None and option.value.startswith("ISTIO_") else mode,
            tuple(name for ref in refs if (name := ref.text("name")) is not None),
            extras=tuple((f"tls.options.{key}", fact) for key, fact in item.leaves("tls", "options")),
            admits=attachment.admits(item),
            secrets=tuple(_referred(ref, homes[0]) for ref in refs),
            check=_check(item, top, homes, number.value, protocol.value, option),
            home=homes[0] if root.number != top.number else "",
        )


def _referred(place: Cursor, home: str) -> tuple[str, Ref]:
    kind, name, space = place.text("kind"), place.text("name"), place.text("namespace")
    return kind.value if kind else "Secret", Ref(space.value if space else home, name.value if name else "")


def _check(item: Cursor, top: Cursor, homes: tuple[str, str], port: int, protocol: str, option: Fact[str] | None) -> ClientCheck | None:
    """What clients of a listener that ends TLS have to show: of a port, else of the Gateway, and in older releases of the listener itself. `homes` are the
    namespaces of the listener and of the Gateway."""
    tls = item.at("tls")
    if (
        not tls
        or not checks_clients(str(top.at("spec", "gatewayClassName").value))
        or protocol not in ("HTTPS", "TLS")
        or tls.at("mode").value == "Passthrough"
    ):
        return None
    frontend, own = top.at("spec", "tls", "frontend"), tls.at("frontendValidation")
    of_port = [one for one in frontend.each("perPort") if one.at("port").value == port]
    whole = of_port[0].at("tls", "validation") if of_port else frontend.at("default", "validation")
    place, home = (own, homes[0]) if own or protocol != "HTTPS" else (whole, homes[1])
    authorities = tuple(_referred(one, home) for one in place.each("caCertificateRefs"))
    if option is not None:
        word = _OPTIONS.get(option.value)
        beside = tuple(_referred(one, homes[0]) for one in tls.each("certificateRefs"))
        return ClientCheck(option.holding(word), authorities or beside) if word is not None else None
    if not place:
        return None
    mode = place.text("mode")
    asked = _MODES.get(mode.value, "required") if mode is not None else "required"
    return ClientCheck(Fact(asked, place.src, "gateway.tls.client-validation"), authorities)
