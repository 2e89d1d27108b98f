"""ReferenceGrants for routes that were written: a backend in another namespace answers only where that namespace allows it.

VirtualServices and Linkerd's routes need none (gateway-api.sigs.k8s.io, api-types/referencegrant). The grant lets nobody reach a pod whom the policies refuse.
"""

from __future__ import annotations

from typing import Any

from meshport.dialects.output import Obj, Output
from meshport.ir.base import Ref, Src

_GROUP = "gateway.networking.k8s.io"
_ROUTES = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")


def grant(out: Output) -> None:
    """One ReferenceGrant for each pair of namespaces and kind of route, naming the Services."""
    wanted: dict[tuple[str, str, str], dict[str, Src]] = {}
    routes: dict[tuple[str, str, str], list[Obj]] = {}
    for (group, kind, ref), obj in out.objects.items():
        if group != _GROUP or kind not in _ROUTES:
            continue
        for place, backend in _backends(obj.value):
            space = backend.get("namespace")
            if not isinstance(space, str) or space == ref.namespace or backend.get("kind", "Service") != "Service":
                continue
            key = (space, ref.namespace, kind)
            if _granted(out, key, str(backend.get("name"))):
                continue
            src = obj.sources.get((*place, "namespace"), frozenset())
            found = wanted.setdefault(key, {})
            found[str(backend["name"])] = found.get(str(backend["name"]), frozenset()) | src
            routes.setdefault(key, []).append(obj)
    for (space, home, kind), services in sorted(wanted.items()):
        asking = routes[space, home, kind][0]
        every: Src = frozenset().union(*services.values())
        owner = asking.origins[0] if asking.origins else None
        name = f"{kind.lower()}s-of-{home}"
        obj = out.object(
            f"{_GROUP}/v1beta1", "ReferenceGrant", Ref(space, name), owner=owner, group=asking.group, rank=asking.rank, because=every
        )
        obj.set(("spec", "from", 0), {"group": _GROUP, "kind": kind, "namespace": home}, every)
        for number, (service, src) in enumerate(sorted(services.items())):
            obj.set(("spec", "to", number), {"group": "", "kind": "Service", "name": service}, src)


def _backends(value: dict[str, Any]) -> list[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """The backends of a route, mirrors among them, with their places."""
    found: list[tuple[tuple[str | int, ...], dict[str, Any]]] = []
    spec = value.get("spec")
    for index, rule in enumerate(spec.get("rules") or () if isinstance(spec, dict) else ()):
        if not isinstance(rule, dict):
            continue
        base: tuple[str | int, ...] = ("spec", "rules", index)
        found += [
            ((*base, "backendRefs", number), item) for number, item in enumerate(rule.get("backendRefs") or ()) if isinstance(item, dict)
        ]
        for number, item in enumerate(rule.get("filters") or ()):
            mirror = item.get("requestMirror") if isinstance(item, dict) else None
            if isinstance(mirror, dict) and isinstance(mirror.get("backendRef"), dict):
                found.append(((*base, "filters", number, "requestMirror", "backendRef"), mirror["backendRef"]))
    return found


def _granted(out: Output, key: tuple[str, str, str], service: str) -> bool:
    """Whether a grant of the input lets the reference through."""
    space, home, kind = key
    for document in out.bundle.documents:
        spec = document.value.get("spec")
        if document.kind != "ReferenceGrant" or document.namespace != space or not isinstance(spec, dict):
            continue
        froms = [item for item in spec.get("from") or () if isinstance(item, dict)]
        tos = [item for item in spec.get("to") or () if isinstance(item, dict)]
        if any(item.get("kind") == kind and item.get("namespace") == home for item in froms) and any(
            item.get("kind") == "Service" and item.get("name") in (None, "", service) for item in tos
        ):
            return True
    return False
