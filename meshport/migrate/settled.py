"""Plans in which nothing stands side by side: one mesh governs all the time, or a new cluster holds everything before it has traffic."""

from __future__ import annotations

from meshport.migrate import interim, words
from meshport.migrate.drafting import Draft
from meshport.migrate.phases import install, prepare, removals, sign_off
from meshport.migrate.setting import Setting
from meshport.migrate.states import bare, home, key
from meshport.report.planned import Command


def in_place(draft: Draft, setting: Setting) -> list[str]:
    """Newer objects of the same mesh, or routes of the Gateway API: namespace by namespace, no pod changes its mesh."""
    options = draft.result.options
    prepare(draft, setting)
    install(draft, setting)
    left = removals(draft)
    counts = {
        name: sum(1 for call in setting.calls if call.destination.startswith(f"{name}/") != call.source.startswith(f"{name}/"))
        for name in setting.namespaces
    }
    homes = sorted(setting.namespaces, key=lambda name: (counts[name], name))
    for name in homes:
        final = draft.take(draft.of(namespaces=[name]))
        marks = [Command(run=command) for command in setting.commands.get(name, ())]
        if not final and not marks:
            continue
        changed = {key(obj, draft.cluster.default) for obj in final if interim.role(obj) in ("namespace", "workload")}
        own = [one for one in draft.result.before.world.workloads if one.ref.namespace == name]
        restarts = [
            one
            for one in own
            if draft.result.before.world.meshed(one) is not False
            and (
                any(mark[1] == "Namespace" for mark in changed)
                or (one.kind, one.ref.namespace, one.ref.name) in {mark[1:] for mark in changed}
            )
        ]
        shadowed = sorted({mark[1] for mark in left if home(mark) == name and mark[1] in ("ServiceProfile", "TrafficSplit")})
        why = (
            "All routes of a host in one step: as soon as an HTTPRoute names a Service, its VirtualService ends."
            if options.target == "gateway-api" and options.source == "istio"
            else (
                f"Dormant where a {' or '.join(shadowed)} stands for the Service: it wins until it is deleted, after the sign-off."
                if shadowed
                else f"{options.target} reads it at once; the order is that of the files."
            )
        )
        draft.add(
            "move",
            f"{name} apply",
            f"{name}: the new objects",
            why,
            namespaces=[name],
            final=final,
            before=marks,
            after=words.restart(restarts, name) if restarts else [],
            back=words.restart(list(reversed(restarts)), name) if restarts else [],
            checks=[
                *words.accepted(final),
                *words.served(options.source if options.target == "gateway-api" else options.target, name),
                *words.refused(options.source if options.target == "gateway-api" else options.target, name),
            ],
        )
    rest = draft.take(list(draft.pool))
    if rest:
        draft.add("strict", "mesh-wide", "What holds for the whole mesh", "After every namespace, for it concerns all of them.", final=rest)
    homes += sorted({home(mark) for mark in left} - set(homes) - {""})
    sign_off(draft, setting, homes)
    return [
        "No pod changes its mesh. The namespace with the fewest calls across its border comes first.",
        "Order: " + ", ".join(homes) + "." if homes else "Nothing is in a namespace.",
    ]


def new_cluster(draft: Draft, setting: Setting) -> list[str]:
    """Everything at once on another cluster, which has no traffic; then the traffic moves, and back if need be."""
    options = draft.result.options
    prepare(draft, setting)
    next(
        each for each in draft.steps[0].commands if each.run
    ).note = "The new cluster. What follows up to the switch goes there; the old one stays untouched."
    draft.steps[0].checks = [check for check in draft.steps[0].checks if not check.run.startswith("kubectl diff")]
    install(draft, setting)
    gone = removals(draft)
    default = draft.cluster.default
    stays = [
        bare(obj, default)
        for mark, obj in draft.cluster.objects.items()
        if mark not in draft.pool and mark not in gone and mark[1] != "Secret"
    ]
    final = draft.take(list(draft.pool))
    draft.cluster.objects = {}
    step = draft.add(
        "move",
        "everything",
        "Everything, on the new cluster",
        "In final form from the start: no pod of the old mesh is here. Secrets, volumes and what else the input does not hold come by the way that you restore a cluster.",
        namespaces=setting.namespaces,
        final=[*stays, *final],
        before=[Command(run=command) for name in setting.namespaces for command in setting.commands.get(name, ())],
        moves=setting.movers,
        after=[Command(run=check.run) for check in words.settled(setting.movers)],
        checks=[
            check
            for name in setting.namespaces
            for check in (*words.moved(options.target, "", name, ambient=setting.ambient), *words.refused(options.target, name))
        ],
    )
    step.back = [Command(run=f"kubectl delete -f {step.folder}/ --ignore-not-found", note="On the new cluster, which has no traffic yet.")]
    for share in (10, 50, 100):
        draft.add(
            "enforce",
            f"traffic {share}",
            f"{share} of 100 requests to the new cluster",
            "Where the traffic is shared out: weighted DNS, the global load balancer, or the CDN. Wait an hour, and longer than the DNS records live, before the next share.",
            namespaces=setting.namespaces,
            before=[Command(run="", note=f"Set the weight of the new cluster to {share}, by the tool that shares out your traffic.")],
            back=[Command(run="", note="Set it back to the share before; the old cluster still runs everything.")],
            checks=[
                check
                for name in setting.namespaces
                for check in (*words.served(options.target, name), *words.refused(options.target, name))
            ],
            judged=False,
        )
    for name in setting.namespaces:
        draft.add(
            "sign-off", f"sign-off {name}", f"Sign off {name}",
            "Whoever owns the namespace says, in writing, that it is well on the new cluster: a working day of traffic, the checks below, and the findings that concern it.",
            namespaces=[name], before=[Command(run=f"kubectl get pods -n {words.q(name)}", note="All Ready.")],
            back=[Command(run="", note="A sign-off changes nothing.")],
            checks=words.served(options.target, name), judged=False,
        )  # fmt: skip
    draft.add(
        "clean-up", "old cluster", "Take the old cluster down",
        f"With it goes {options.source} and what the conversion leaves behind. Only after every namespace is signed off; keep its manifests in Git for as long as you keep backups.",
        before=[Command(run="", note="By the tool that made the cluster.")], back=[Command(run="", note="None: from here on the way back is a new cluster again.")], judged=False,
    )  # fmt: skip
    return [
        "A new cluster: nothing stands side by side in one cluster, so that no enforcement is weaker in between, and the way back is the old cluster's traffic."
    ]
