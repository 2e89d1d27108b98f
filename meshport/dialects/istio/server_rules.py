"""What a Server lets in, as rules of an AuthorizationPolicy, and what has to be said of those that Istio has no words for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from meshport.dialects import protocols
from meshport.dialects.base import Options
from meshport.dialects.istio.dots import with_dots
from meshport.dialects.istio.drafts import Draft, Written
from meshport.dialects.istio.saying import Unsaid, operations, say_source, unsaid, without_ports
from meshport.dialects.output import Output
from meshport.effective.access import Region
from meshport.effective.pieces import Piece, Unsayable, of_rule
from meshport.effective.relaxed import relaxed
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.authorization import HOST, PATH, Policy, Rule, sole_grant
from meshport.ir.base import NOWHERE, Fact, Src
from meshport.ir.model import IR
from meshport.values.language import LanguageTooLarge


def port_rules(ir: IR, out: Output, options: Options, draft: Draft, port: int, policy: Policy) -> None:
    """The rules of one Server."""
    pathed = [
        rule
        for rule in policy.rules
        if rule.condition(PATH) is not None or any(item.attribute == PATH for taken in rule.unless for item in taken)
    ]
    if pathed and ir.raw_paths:
        out.gather(
            policy.document, "MP231", document=policy.document, affects=affected(draft, port), explains=explains_of(draft.region, port),
            feature="authorization.operation.paths", policy=f"{policy.kind} {policy.ref.value}", listed={"port": (port,)},
        )  # fmt: skip
    spoken = policy.protocol.value if policy.protocol is not None else ""
    http = protocols.is_http(spoken)
    declared = protocols.together([member.workload for member in draft.region.members], port, ir.world)[0]
    if not spoken and declared not in protocols.HTTP:
        draft.detected.add(port)
        if not declared and any(rule.needs_http and not rule.http for rule in policy.rules):  # of a Service that says bytes MP398 tells
            out.gather(
                policy.document, "MP300", document=policy.document, affects=affected(draft, port), feature="server.protocol",
                policy=f"{policy.kind} {policy.ref.value}", listed={"port": (port,)},
            )  # fmt: skip
    base = policy.ref.src | policy.action.src | (policy.port.src if policy.port is not None else NOWHERE)
    if policy.protocol is not None and any(rule.http for rule in policy.rules):
        base |= policy.protocol.src if spoken in ("tcp", "tls") else NOWHERE
    if policy.fallback is not None:
        base |= policy.fallback.src
    for rule in policy.rules:
        document = rule.document if rule.document is not None else policy.document
        if document not in draft.origins:
            draft.origins.append(document)
        try:
            pieces = of_rule(rule, http=http, port=port)
        except (Unsayable, ValueError) as error:
            left_out(out, draft, port, policy, rule, document, str(error))
            continue
        if any(_beyond_saying(piece, port) for piece in pieces):
            plain, dotted = with_dots(rule, http=http, port=port)
            if plain and not any(unsaid(piece) for piece in plain):
                pieces = [*plain]
                out.gather(
                    (document, str(policy.ref.value)), "MP173", dotted, document=document, disposition="approximated",
                    affects=affected(draft, port), explains=explains_of(draft.region, port), feature="authorization.operation.paths",
                    policy=f"{policy.kind} {policy.ref.value}", listed={"port": (port,)},
                )  # fmt: skip
        for piece in pieces:
            say(out, options, draft, port, policy, rule, document, piece, base)
    if policy.document not in draft.origins:
        draft.origins.append(policy.document)


def say(
    out: Output, options: Options, draft: Draft, port: int | None, policy: Policy, rule: Rule, document: int, piece: Piece, base: Src
) -> None:
    try:
        peers = say_source(piece.who, piece.where.networks())
    except (Unsaid, Unsayable, ValueError) as error:
        left_out(out, draft, port, policy, rule, document, str(error))
        return
    if options.on_loss == "looser" and _beyond_saying(piece, port):
        said(out, "MP218", draft, port, policy, rule, document, unsaid(piece), "approximated", effect="widens", severity="error")
        piece = relaxed(piece, unsaid)
    try:
        operation, when = operations(piece, port)
    except (Unsaid, Unsayable, ValueError) as error:
        fewer = _of_usual_ports(piece, port)
        if fewer is not None and not unsaid(fewer):
            asked = rule.condition(HOST)
            out.gather(
                (document, str(policy.ref.value)), "MP172", asked.sources if asked is not None else NOWHERE, document=document,
                disposition="approximated", affects=affected(draft, port), explains=explains_of(draft.region, port),
                feature="authorization.operation.hosts", policy=f"{policy.kind} {policy.ref.value}", listed={"port": (port,)},
            )  # fmt: skip
            say(out, options, draft, port, policy, rule, document, fewer, base)
            return
        left_out(out, draft, port, policy, rule, document, unsaid(fewer) if fewer is not None else str(error), piece)
        return
    if not peers:
        return
    if rule.http and piece.any_request and port in draft.detected:
        operation["methods"] = ["*"]  # a route that takes every request lets no bytes in
    if piece.who.include is None and port is not None:
        draft.plaintext.add(port)
    server = policy.ref.src if policy.ref is not None else NOWHERE
    draft.rules.append(Written([entry for entry in peers if entry], operation, when, piece.src | base | server))


def _beyond_saying(piece: Piece, port: int | None) -> bool:
    """Whether a piece cannot be said, nor for the hosts that name no port, or a usual one."""
    if not unsaid(piece):
        return False
    fewer = _of_usual_ports(piece, port)
    return fewer is None or bool(unsaid(fewer))


def _of_usual_ports(piece: Piece, port: int | None) -> Piece | None:
    """The piece for hosts of a domain that name no port, or a usual one; None where it holds no domain."""
    if piece.host is None or port is None:
        return None
    try:
        hosts = without_ports(piece.host, sorted({80, 443, port}))
    except LanguageTooLarge:
        return None
    return replace(piece, host=hosts) if hosts is not None else None


def wanted_name(policies: Collection[Policy]) -> Fact[str]:
    """The one object that grants, else the first Server; "" where there is none."""
    granting = sole_grant(rule for policy in policies for rule in policy.rules)
    return granting or min((policy.ref.map(lambda ref: ref.name) for policy in policies), key=lambda fact: fact.value, default=Fact(""))


def left_out(
    out: Output, draft: Draft, port: int | None, policy: Policy, rule: Rule, document: int, reason: str, lost: Piece | None = None
) -> None:  # fmt: skip
    said(out, "MP201", draft, port, policy, rule, document, reason, "dropped", lost)


def said(
    out: Output, code: str, draft: Draft, port: int | None, policy: Policy, rule: Rule, document: int, reason: str, disposition: str,
    lost: Piece | None = None, **more: str,
) -> None:  # fmt: skip
    out.gather(
        (document, str(policy.ref.value), reason), code, rule.sources, document=document, disposition=disposition, affects=affected(draft, port),
        explains=explains_of(draft.region, port), feature="authorization.rule", policy=f"{policy.kind} {policy.ref.value}",
        listed={"port": (port if port is not None else "any",)}, reason=reason, lost=lost, **more,
    )  # fmt: skip


def affected(draft: Draft, port: int | None) -> tuple[Affected, ...]:
    """The pods that a draft is for: those that the bundle shows, and others that its selector may take."""
    known = affects_of(draft.region, port)
    if known and not draft.others:
        return known
    return (*known, Affected(draft.region.namespace, str(draft.selector) if draft.selector.labels else None, port))


def affects_of(region: Region, port: int | None) -> tuple[Affected, ...]:
    return tuple(Affected(member.workload.ref.namespace, member.workload.ref.name, port) for member in region.members)


def explains_of(region: Region, port: int | None) -> frozenset[tuple[str, str]]:
    return frozenset(
        (access_subject(member.workload.ref, port), aspect) for member in region.members for aspect in ("allow", "deny", "default")
    )
