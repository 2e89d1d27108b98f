"""What policies say of pods that have no proxy: as callers they have no identity to be named by, as destinations nobody enforces anything for them.

Pods on the host's network are injected by neither mesh (istio.io/latest/docs/setup/additional-setup/sidecar-injection, linkerd.io/2-edge/features/
proxy-injection), and others say so themselves. The move changes nothing about them; that a policy speaks of them is mostly a mistake.
"""

from __future__ import annotations

from collections.abc import Callable

from meshport.dialects.base import Options
from meshport.dialects.gateway_accounts import gateway_accounts
from meshport.dialects.output import Output
from meshport.ir.authorization import IDENTITY, Policy
from meshport.ir.base import NOWHERE, Ref, Src
from meshport.ir.model import IR
from meshport.ir.world import Workload
from meshport.values.identities import Identity


def report(ir: IR, out: Output) -> None:
    """A finding for each policy that admits only such callers by a name, and for each that selects only such pods."""
    for policy in ir.policies:
        _callers(policy, ir, out)
        selected = ir.world.selected(policy.subject.value)
        bare = all(ir.world.meshed(pod) is False and not _entrance(pod, ir) for pod in selected)
        if selected and not policy.subject.value.selector.everything and bare:
            out.finding(
                "MP215", document=policy.document, feature="authorization.subject", policy=f"{policy.kind} {policy.ref.value}",
                workloads=_named(selected),
            )  # fmt: skip


def _callers(policy: Policy, ir: IR, out: Output) -> None:
    if policy.action.value != "allow":
        return
    found: dict[str, Src] = {}
    gateways = gateway_accounts(ir, out.bundle)
    for rule in policy.rules:
        for condition in rule.conditions:
            for fact in (condition.any_of or ()) if condition.attribute == IDENTITY else ():
                pods = _running_as(fact.value, ir)
                entry = any(Ref(pod.ref.namespace, pod.account.value) in gateways for pod in pods)  # it is a proxy, and has an identity
                if pods and not entry and all(ir.world.meshed(pod) is False for pod in pods):
                    named = _named(pods)
                    found[named] = found.get(named, NOWHERE) | fact.src
    for named, src in found.items():
        out.finding(
            "MP210", src, document=policy.document, feature="authorization.source.principals", policy=f"{policy.kind} {policy.ref.value}",
            workloads=named,
        )  # fmt: skip


def unknown_callers(
    ir: IR, out: Output, options: Options, trust_domain: str | None = None, left_out: Callable[[Ref], bool] = lambda _: False
) -> None:
    """A finding for each object that lets in accounts of which the input shows neither a workload nor the ServiceAccount: kept as they are.

    With a trust domain, accounts of others are passed over: they are left out, which is said elsewhere, as are those that `left_out` names. Whom an option
    names is known to whoever gave it."""
    domains = (None, trust_domain, "cluster.local")
    given = (options.gateway_identity or "", *options.allow_scrape_from)
    expected = {*gateway_accounts(ir, out.bundle), *(Ref(*name.partition("/")[::2]) for name in given)}
    found: dict[int, dict[Ref, Src]] = {}
    facts = (
        fact
        for policy in (ir.policies if ir.world.workloads else ())
        if policy.action.value == "allow"
        for rule in policy.rules
        for condition in rule.conditions
        if condition.attribute == IDENTITY
        for fact in condition.any_of or ()
    )
    for fact in facts:
        account = _account(fact.value)
        if trust_domain is not None and isinstance(fact.value, Identity) and fact.value.trust_domain not in domains:
            continue
        if (
            account is not None
            and fact.src
            and not ir.world.runs(account)
            and account not in ir.world.accounts
            and account not in expected
            and not left_out(account)
        ):
            said = found.setdefault(out.bundle.number(min(fact.src)), {})
            said[account] = said.get(account, NOWHERE) | fact.src
    for number, accounts in sorted(found.items()):
        document = out.bundle.documents[number]
        out.finding(
            "MP189", *accounts.values(), document=number, feature="authorization.source.principals",
            policy=f"{document.kind} {Ref(document.namespace or '', document.name)}", accounts=", ".join(sorted(map(str, accounts))),
        )  # fmt: skip


def _account(peer: object) -> Ref | None:
    """The one account that a peer names."""
    if not isinstance(peer, Identity) or peer.namespace is None or peer.service_account is None:
        return None
    return Ref(peer.namespace, peer.service_account)


def _entrance(pod: Workload, ir: IR) -> bool:
    """Whether a pod serves a Gateway: without a sidecar it is a proxy itself."""
    return any(gateway.selects(pod.labels) for gateway in ir.gateways)


def _running_as(peer: object, ir: IR) -> list[Workload]:
    """The workloads under the one account that a peer names; [] where it names more than one."""
    account = _account(peer)
    return [pod for pod in ir.world.of_namespace(account.namespace) if pod.account.value == account.name] if account is not None else []


def _named(pods: list[Workload]) -> str:
    return ", ".join(f"{pod.ref} (on the host's network)" if pod.host_network else str(pod.ref) for pod in pods)
