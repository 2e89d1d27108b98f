"""The phases that every plan has: what has to be there before, the installation, the sign-off, and only then the removals."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from meshport.mapping.owners import SIDECARS
from meshport.mapping.table import version_key
from meshport.migrate import words
from meshport.migrate.drafting import Draft, slug
from meshport.migrate.interim import OPEN_DEFAULT, group_of, role
from meshport.migrate.setting import Setting
from meshport.migrate.states import Key, bare, home, key
from meshport.report.planned import Check, Command, PlannedManifest

Obj = dict[str, Any]
GATEWAY_API = "gateway.networking.k8s.io"


def removals(draft: Draft) -> list[Key]:
    """The source's objects that the conversion leaves behind, as keys of the cluster."""
    found = []
    for item in draft.result.removals:
        mark = key(
            {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": {"namespace": item["namespace"], "name": item["name"]}}, ""
        )
        near = [
            one
            for one in draft.cluster.objects
            if (one[0], one[1], one[3]) == (mark[0], mark[1], mark[3]) and one[2] in (mark[2], draft.cluster.default, "")
        ]
        found += near[:1]
    return sorted(set(found), key=lambda mark: (home(mark), mark))


def prepare(draft: Draft, setting: Setting) -> None:
    """What has to be true before anything is changed: versions, CRDs, the network, and that the cluster is what the input says."""
    options = draft.result.options
    default = draft.cluster.default
    touched = [mark for mark in draft.cluster.objects if mark in draft.pool] + removals(draft)
    folder = draft.folder("prepare")
    kept = [
        PlannedManifest(
            file=f"rollback/{folder}/{slug(home(mark) or 'cluster')}.yaml",
            change="change",
            interim=False,
            object=bare(draft.cluster.objects[mark], default),
        )
        for mark in sorted(set(touched), key=lambda mark: (home(mark), mark))
    ]
    by_hand = [
        Command(
            run="",
            note="Argo CD: for each Application that owns these namespaces, argocd app set NAME --sync-policy none (after the last step: back to what it was).",
        ),
        Command(
            run="",
            note="Flux: for each Kustomization and HelmRelease that owns them, flux suspend kustomization NAME, flux suspend helmrelease NAME (after the last step: flux resume).",
        ),
        Command(
            run="",
            note="A file that is pruned deletes its object at once: take files of the source mesh out of Git in the clean-up steps alone, and commit each step's manifests when it is done.",
        ),
    ]
    commands = [*by_hand, Command(run="kubectl config current-context", note="The right cluster? Everything below goes there.")]
    uses_gateway_api = any(mark[0] == GATEWAY_API for mark in draft.pool)
    first: list[Check] = []
    checks: list[Check] = []
    if uses_gateway_api or options.target == "linkerd":
        release = draft.result.table.gateway_release(options.target, options.target_version) or "1.2"
        asked, applied = words.crds(release, channel(draft.pool))
        first.append(asked)
        commands.append(applied)
        checks.append(
            words.shell("kubectl wait --for=condition=Established crd/httproutes.gateway.networking.k8s.io --timeout=60s", "condition met")
        )
    if not setting.calm:
        commands += words.coexistence(options.source, options.target)
        checks += words.coexisting(options.source, options.target)
        if options.target == "linkerd":
            checks.append(words.shell("linkerd check --pre", "Status check results are √"))
    if kept:
        checks.append(
            words.shell(
                f"kubectl diff -f rollback/{folder}/",
                "no output: the cluster is what this plan was made from. Any output: make the plan anew from what is deployed",
            )
        )
    checks += _policies(draft, setting)
    checks += _baseline(options.source, setting.namespaces)
    why = f"Nothing is changed for any workload yet. rollback/{folder}/ holds every object of the source that the plan touches, as it stands now."
    step = draft.add("prepare", "prepare", "Before the first change", why, before=commands, first=first, checks=checks, judged=False)
    step.previous = kept
    step.back = [Command(run="", note="Nothing to take back: CRDs and settings of the network harm nobody who does not use them.")]


def channel(objects: Mapping[Key, Obj]) -> str:
    """The channel of the Gateway API's CRDs that the manifests need: what is alpha is in the experimental one alone."""
    for obj in objects.values():
        if group_of(obj) != GATEWAY_API or role(obj) not in ("route", "gateway"):
            continue
        rules = (obj.get("spec") or {}).get("rules")
        listed = rules if isinstance(rules, list) else []
        if "alpha" in obj["apiVersion"] or any(isinstance(rule, dict) and {"retry", "sessionPersistence"} & set(rule) for rule in listed):
            return "experimental"
    return "standard"


def _policies(draft: Draft, setting: Setting) -> list[Check]:
    """Network policies that may shut the port that the mesh's own traffic arrives at. Those that a later step lets it through are not asked for it yet."""
    options = draft.result.options
    port = None if setting.calm else words.port(options.target, options.target_version, ambient=setting.ambient)
    if port is None:
        return []
    return [
        words.shell(
            f"kubectl get networkpolicy.networking.k8s.io {words.q(mark[3])} -n {words.q(mark[2])} -o yaml",
            f"its ingress admits TCP {port} from pods of the mesh, if it restricts ingress at all: traffic between meshed pods arrives there",
        )
        for mark in sorted(draft.cluster.objects)
        if mark[:2] == ("networking.k8s.io", "NetworkPolicy") and mark[2] in setting.namespaces and mark not in draft.pool
    ]


def _baseline(mesh: str, namespaces: Sequence[str]) -> list[Check]:
    asked = [check for name in namespaces for check in words.served(mesh, name)]
    return [check.model_copy(update={"expect": "write the value down: later steps compare with it"}) for check in asked]


def install(draft: Draft, setting: Setting) -> dict[str, Obj]:
    """The target mesh beside the source, with values that take plaintext still; the final values by chart."""
    options = draft.result.options
    final: dict[str, Obj] = copy.deepcopy(draft.result.install["helm_values"])
    values = copy.deepcopy(final)
    if not setting.calm and setting.strategy != "cluster":
        proxy = values.get("linkerd-control-plane", {}).get("proxy")
        if isinstance(proxy, dict) and proxy.get("defaultInboundPolicy") in OPEN_DEFAULT:
            proxy["defaultInboundPolicy"] = OPEN_DEFAULT[proxy["defaultInboundPolicy"]]
    present = options.source == options.target and setting.strategy != "cluster"
    upgraded = present and version_key(options.source_version) != version_key(options.target_version)
    if setting.calm and not (values or setting.install_commands or upgraded):
        return final
    folder = draft.folder("install")
    given = words.install(options.target, options.target_version, folder, sorted(values), ambient=setting.ambient, present=present)
    rest = [Command(run=command) for command in setting.install_commands if not any(_same(command, each.run) for each in given)]
    back = words.uninstall(options.target, ambient=setting.ambient and not present) if not present else []
    if present or options.target == "cilium":
        chart = {"istio": "istiod", "cilium": "cilium"}.get(options.target)
        back = (
            [Command(run=f"helm rollback {chart} -n {words.SYSTEM[options.target]} --wait", note="To the release before.")] if chart else []
        )
        back = back or [Command(run="linkerd upgrade | kubectl apply -f -", note="With the CLI and the values of before.")]
    draft.add(
        "install",
        "install",
        f"{'Upgrade' if present else 'Install'} {options.target} {options.target_version}"
        + (" on the new cluster" if setting.strategy == "cluster" else "" if present else f" beside {options.source}"),
        "No pod takes part yet: enrolment is by namespace and pod."
        if options.target != "cilium"
        else "Cilium governs every pod, but no policy of the plan is there yet.",
        before=[*given, *rest],
        values=values,
        back=back,
        checks=words.installed(options.target, ambient=setting.ambient),
    )
    return final


def _same(command: str, given: str) -> bool:
    """Whether a command of the conversion installs what a line of the plan installs."""
    return command.split()[:4] == given.split()[:4] and "--install" in command


def sign_off(draft: Draft, setting: Setting, namespaces: Sequence[str]) -> None:
    """Per namespace: somebody says that it is well, and only then its source objects go."""
    options = draft.result.options
    left = removals(draft)
    homes = [name for name in namespaces if name]
    held = set() if setting.calm else _guarding_gateways(draft, left)
    switched = {mark[1] for mark in left} & {"ServiceProfile", "TrafficSplit"} if setting.calm and options.source == "linkerd" else set()
    for name in homes:
        own = [mark for mark in left if home(mark) == name and mark not in held]
        finish = draft.take(draft.of("service", namespaces=[name]))
        checks = [*words.served(options.target, name), *words.refused(options.target, name)]
        draft.add(
            "sign-off",
            f"sign-off {name}",
            f"Sign off {name}",
            "Whoever owns the namespace says, in writing, that it is well: a working day of traffic, the checks below, and the findings that concern it. Until then its "
            "source objects stay, and the way back is open.",
            namespaces=[name],
            before=[
                *words.tried(name, setting.rows),
                Command(run=f"kubectl get pods -n {words.q(name)}", note="All Ready, no restarts since the step."),
            ],
            checks=checks,
            judged=False,
        ).back = [Command(run="", note="A sign-off changes nothing.")]
        if not own and not finish:
            continue
        why = "The objects of the source mesh, which nothing reads any more. Remove their files from Git in the same commit."
        if switched & {mark[1] for mark in own}:
            why = (
                "This is the switch: a ServiceProfile or TrafficSplit wins over routes and annotations of its Service until it is gone, so the new routes act from here "
                "on. Delete in a quiet hour, and restart the callers if their proxies keep the old routing (linkerd2#14274)."
            )
        draft.add(
            "clean-up",
            f"remove {name}",
            f"Remove what {options.source} leaves in {name}",
            why,
            namespaces=[name],
            final=finish,
            delete=own,
            checks=checks,
        )
    rest = [mark for mark in left if home(mark) not in homes or mark in held]
    if rest:
        draft.add(
            "clean-up",
            "remove the rest",
            f"Remove the rest of what {options.source} leaves",
            "After every namespace is signed off."
            + (
                f" Policies of whole namespaces are among it, which also guard the Gateways that {options.source} still serves: not before those are handed over."
                if held
                else ""
            ),
            namespaces=sorted({home(mark) for mark in rest if home(mark)}),
            delete=rest,
        )


def _guarding_gateways(draft: Draft, left: Sequence[Key]) -> set[Key]:
    """Policies without selector in namespaces where the source still serves a Gateway: without them it lets in what they refuse."""
    source = draft.result.options.source
    homes = {mark[2] for mark, obj in draft.cluster.objects.items() if mark[1] == "Gateway" and _of_mesh(obj, source)}
    unselected = (mark for mark in left if mark[1] == "AuthorizationPolicy" and mark[2] in homes)
    return {mark for mark in unselected if not (draft.cluster.objects[mark].get("spec") or {}).get("selector")}


def retire(draft: Draft, setting: Setting) -> None:
    """The end of the source mesh's control plane."""
    options = draft.result.options
    if setting.calm or options.source in ("cilium", "gateway-api", "smi") or options.source == options.target:
        return
    served = sorted(
        f"{mark[2]}/{mark[3]}"
        for mark, obj in draft.cluster.objects.items()
        if role(obj) == "gateway" and mark[1] == "Gateway" and _of_mesh(obj, options.source)
    )
    if options.namespaces or options.select:
        return
    why = "Last of all, after every namespace is signed off and no pod has its proxy."
    if served:
        why += f" Not while a Gateway is served by it: {', '.join(served)} have to be handed to another controller first (--gateway-class)."
    proxy = SIDECARS.get(options.source, "proxy")
    draft.add(
        "clean-up",
        f"uninstall {options.source}",
        f"Uninstall {options.source}",
        why,
        before=words.uninstall(options.source, ambient=False),
        back=[
            Command(
                run=f"kubectl get ns {words.SYSTEM[options.source]}",
                note=f"Install {options.source} {options.source_version} again as it was installed, then go back step by step.",
            )
        ],
        checks=[
            words.shell(
                "kubectl get pods -A -o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name} {.spec.containers[*].name} {.spec.initContainers[*].name}{\"\\n\"}{end}' | grep "
                + words.q(proxy),
                "no output",
            )
        ],
        judged=False,
    )


def _of_mesh(obj: Obj, mesh: str) -> bool:
    if group_of(obj) == "networking.istio.io":
        return mesh == "istio"
    return str((obj.get("spec") or {}).get("gatewayClassName", "")).startswith(mesh)
