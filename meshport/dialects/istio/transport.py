"""PeerAuthentication (Istio reference 2.1; istio.io/latest/docs/reference/config/security/peer_authentication).

Mesh level is an object without selector in the root namespace, namespace level one without selector elsewhere, workload level one with a selector. A
selector in the root namespace is ignored, as istiod does.
"""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.ir.base import Fact, PodSet, Selector
from meshport.ir.model import IR, Loss
from meshport.ir.transport import TransportRule
from meshport.mapping.bound import Bound
from meshport.values.ports import is_number

MODES = {"STRICT": "strict", "PERMISSIVE": "permissive", "DISABLE": "disable"}
UNSET = "UNSET"
"""The mode of the level above."""


def lift(bound: Bound, numbers: list[int], options: Options, ir: IR) -> None:
    """Each PeerAuthentication as a transport rule."""
    for number in numbers:
        root = Cursor.root(bound, number)
        document = root.document
        namespace = document.namespace or options.default_namespace
        spec = root.at("spec")
        selector = spec.selector("selector")
        mesh = namespace == options.root_namespace
        if mesh and not selector.value.everything:
            ir.losses.append(
                Loss(
                    "MP108",
                    (selector, *(fact for _, fact in spec.leaves("mtls")), *(fact for _, fact in spec.leaves("portLevelMtls"))),
                    number,
                )
            )
            continue
        level = "mesh" if mesh else "namespace" if selector.value.everything else "workload"
        subject = Fact(
            PodSet("" if mesh else namespace, Selector() if mesh else selector.value), selector.src | root.at("metadata", "namespace").src
        )
        mode = spec.at("mtls").get("mode", str)
        ports: dict[int, Fact[str]] = {}
        inheriting: dict[int | None, Fact[str]] = {None: mode} if mode is not None and mode.value == UNSET else {}
        for key, item in spec.items("portLevelMtls"):
            said = item.get("mode", str)
            if not is_number(str(key)) or said is None:
                continue
            if said.value in MODES:
                ports[int(key)] = said.map(MODES.__getitem__)
            elif said.value == UNSET:
                inheriting[int(key)] = said
        known = mode.map(MODES.__getitem__) if mode is not None and mode.value in MODES else None
        if known is not None and level == "workload":  # a port without a mode takes the one of the workload
            known = known.also(frozenset(leaf for _, item in spec.items("portLevelMtls") if not item.get("mode", str) for leaf in item.src))
        if known is None and not ports and (mode is not None or spec):
            ir.losses.append(Loss("MP110", tuple(fact for _, fact in spec.leaves()) or (Fact(None, spec.src),), number))
        ir.transport.append(TransportRule(root.ref(), level, subject, known, ports, number, root.created(), inheriting))
