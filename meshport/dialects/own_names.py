"""Names of policies that are written, where another policy of the target in the input has the name: applied, the new one would take its place, and what
the other says of other pods would end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshport.dialects.output import Obj, Output
from meshport.ir.base import Ref

_KINDS = {
    ("cilium.io", "CiliumNetworkPolicy"),
    ("cilium.io", "CiliumClusterwideNetworkPolicy"),
    ("security.istio.io", "AuthorizationPolicy"),
    ("policy.linkerd.io", "Server"),
    ("policy.linkerd.io", "AuthorizationPolicy"),
}


def settle(out: Output, *, always: bool = False) -> None:
    """Give what is written a name of its own, and what refers to it that name; what says the same as the object of its name keeps it, if not `always`."""
    for (group, kind, ref), obj in list(out.objects.items()):
        number = out.bundle_object(group, kind, ref)
        if (group, kind) not in _KINDS or obj.changed is not None or number is None or number in out.removed:
            continue
        if not always and out.bundle.documents[number].value.get("spec") == obj.value.get("spec"):
            continue
        name = out.free(str(obj.value["apiVersion"]), kind, ref.namespace, ref.name)
        del out.objects[group, kind, ref]
        obj.value["metadata"]["name"] = name
        out.objects[group, kind, Ref(ref.namespace, name)] = obj
        for reference in _references(out.objects.values(), group, kind, ref):
            reference["name"] = name


def _references(objects: Any, group: str, kind: str, ref: Ref) -> Iterator[dict[str, Any]]:
    """Where written objects of the namespace refer to an object."""

    def below(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict) and (value.get("group"), value.get("kind"), value.get("name")) == (group, kind, ref.name):
            yield value
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from below(item)

    written: list[Obj] = [obj for obj in objects if obj.changed is None and obj.ref.namespace == ref.namespace]
    for obj in written:
        yield from below(obj.value.get("spec"))
