"""What rules about pods become at the waypoint of a Service: it knows the Service's ports, and does not tell apart the pods behind it."""

from __future__ import annotations

from typing import Any

from meshport.dialects.istio.ambient_entries import REFUSE, Entry
from meshport.dialects.istio.ambient_written import Writing, names_of, outcome_of
from meshport.dialects.istio.rules import by_operation, deep, on_port, on_ports, qualified, takes, within
from meshport.dialects.istio.waypoints import targets
from meshport.ir.world import Service


def of_all(writing: Writing, entry: Entry, rules: list[dict[str, Any]], service: Service) -> list[dict[str, Any]]:
    """What every pod behind a Service admits of the rules of a policy: the waypoint does not tell pods apart, and would let the requests in at each."""
    mine = {id(workload) for workload in entry.members}
    members = writing.ir.world.selected(service.pods) if service.pods is not None else []
    others = {id(workload): workload for workload in members if id(workload) in writing.closed and id(workload) not in mine}
    admitted = {key: found for key in others if (found := _admitted(writing, key, service)) is not None}
    ports = [port.number for port in service.ports if port.protocol == "TCP"]
    kept, refused = [], set[int]()
    for rule in rules:
        own = {port: said for port in ports if (said := on_port(qualified(rule, entry.ref.namespace), port)) is not None}
        missing = {
            port: {
                key
                for key, theirs in admitted.items()
                if not any((one := on_port(another, port)) is not None and within(said, one) for another in theirs)
            }
            for port, said in own.items()
        }
        refused |= {key for keys in missing.values() for key in keys}
        held = sorted(port for port, keys in missing.items() if not keys)
        if len(held) == len(own):
            kept.append(rule)
        elif held and (said := by_operation({**rule, "when": [*(rule.get("when") or ()), on_ports(held)]})) is not None:
            kept.append(said)
    if refused:
        rest = names_of(sorted((others[key] for key in refused), key=lambda item: item.ref))
        reason = f"Service {service.ref} sends to {rest} as well, which refuse some of it, and a waypoint does not tell pods apart"
        writing.say(entry, entry.members, reason, "what they refuse is left out for all of them")
    return kept


def hangs(writing: Writing, entry: Entry) -> bool:
    """Whether an allow has a rule for the waypoints before its pods; else ztunnel holds all of it, and lets no waypoint in for its sake."""
    if any(deep(rule) for rule in entry.rules) or any(id(workload) in writing.denied for workload in entry.members):
        return True
    return any(for_service(writing, entry, rule, one, aloud=False) is not None for rule in entry.rules for one in entry.services)


def _admitted(writing: Writing, key: int, service: Service) -> list[dict[str, Any]] | None:
    """What a pod that is closed admits, as rules on a Service; None where its ztunnel does not let the waypoint in."""
    policies = [one for one in writing.entries if one.action == "ALLOW" and any(id(workload) == key for workload in one.members)]
    if key not in writing.denied and not any(hangs(writing, one) for one in policies):
        return None
    found = [(one, for_service(writing, one, rule, service, aloud=False)) for one in policies for rule in one.rules]
    return [qualified(said, one.ref.namespace) for one, said in found if said is not None]


def strangers(writing: Writing, entry: Entry, rules: list[dict[str, Any]], service: Service) -> None:
    """Say which pods behind a Service lose by a policy that is for others of its pods: nothing else closed these, or it refuses."""
    mine = {id(workload) for workload in entry.members}
    members = writing.ir.world.selected(service.pods) if service.pods is not None else []
    others = [one for one in members if id(one) not in mine and (entry.action in REFUSE or id(one) not in writing.closed)]
    if not others or (entry.action == "ALLOW" and {} in rules):
        return
    found = writing.finding(
        "MP244", entry, others, object=entry.named, severity="warning",
        reason=f"Service {service.ref} sends to {names_of(others)} as well, which it is not for, and a waypoint does not tell pods apart",
        outcome="what it refuses is refused there too",
    )  # fmt: skip
    found.remedy = "Put a Service of their own before the pods that it is for, and let the clients call that."


def for_service(writing: Writing, entry: Entry, rule: dict[str, Any], service: Service, *, aloud: bool = True) -> dict[str, Any] | None:
    """A rule about container ports as one about the Service's; None where it speaks of no port of the Service. `aloud` to say what it loses."""
    said = by_operation(rule)
    if said is None:
        return None
    if any(item.get("key") == "destination.ip" for item in said.get("when") or ()):
        outcome = outcome_of(entry) if entry.action == "ALLOW" else "it refuses at any address"
        if aloud:
            writing.say(entry, entry.members, "a waypoint sees the Service's address, and `when` asks for the pod's", outcome)
        if entry.action == "ALLOW":
            return None
        when = [item for item in said.pop("when") if item.get("key") != "destination.ip"]
        said = {**said, "when": when} if when else said
    if not any((item.get("operation") or {}).get(key) for item in said.get("to") or () for key in ("ports", "notPorts")):
        return said
    known = targets(service, writing.ir.world)
    entries = []
    for item in said["to"]:
        operation = item["operation"]
        inside, outside = operation.pop("ports", None), operation.pop("notPorts", None)
        taken = {number: [takes(inside, outside, target) for target in reached] for number, (reached, _) in known.items()}
        mixed = {number for number, answers in taken.items() if any(answers) and not all(answers)}
        if mixed and aloud:
            outcome = outcome_of(entry) if entry.action == "ALLOW" else "it refuses on each of them"
            writing.say(entry, entry.members, f"Service {service.ref} sends to different ports of its pods", outcome)
        chosen = {number for number, answers in taken.items() if all(answers)} | (mixed if entry.action in REFUSE else set())
        if not chosen:
            continue
        every = chosen == {port.number for port in service.ports if port.protocol == "TCP"}
        if not every or deep(rule):  # on ports for TCP a rule that asks for HTTP in any part is void, and stays so
            others = {target for number, (reached, _) in known.items() if number not in chosen for target in reached}
            if chosen & others and entry.action == "ALLOW":
                if aloud:
                    reason = f"ports of Service {service.ref} are the targets of others, so a port may mean either"
                    writing.say(entry, entry.members, reason, outcome_of(entry))
                continue
            operation["ports"] = [str(number) for number in sorted(chosen)]
        entries.append(item if operation else None)
    if not entries:
        return None
    if any(item is None for item in entries):
        said.pop("to")
    else:
        said["to"] = entries
    return said
