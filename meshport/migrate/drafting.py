"""Steps while they are made: each applies objects over the cluster as the steps before left it, knows how it stood, and so the way back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from meshport.ir.world import Workload
from meshport.migrate import words
from meshport.migrate.interim import RANKS, role
from meshport.migrate.states import Cluster, Key, Known, bare, home, judge, key
from meshport.report.planned import Check, Command, PlannedManifest, StateCheck, Step

if TYPE_CHECKING:
    from meshport.pipeline import Result

Obj = dict[str, Any]
MOST_SLUG = 48


def slug(text: str) -> str:
    """A name of a folder out of anything."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:MOST_SLUG].strip("-") or "step"


@dataclass(slots=True)
class Draft:
    """The steps so far. `pool` holds the manifests of the conversion that no step has applied yet, `moved` the workloads that are in the target mesh."""

    result: Result
    cluster: Cluster
    movers: list[Workload]
    calm: bool  # one mesh governs all the time
    pool: dict[Key, Obj] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    moved: dict[str, int] = field(default_factory=dict)  # workload: step
    enforced: dict[str, int] = field(default_factory=dict)  # namespace: step
    known: Known = field(default_factory=Known)

    @property
    def next(self) -> int:
        return len(self.steps) + 1

    def folder(self, name: str) -> str:
        return f"{self.next:02d}-{slug(name)}"

    def take(self, keys: Iterable[Key]) -> list[Obj]:
        """Manifests out of the pool, in the order of application."""
        found = [self.pool.pop(name) for name in list(keys) if name in self.pool]
        return sorted(found, key=lambda obj: (RANKS[role(obj)], key(obj, self.cluster.default)))

    def of(self, *roles: str, namespaces: Iterable[str] | None = None) -> list[Key]:
        """The keys of the pool with these roles, of these namespaces."""
        homes = None if namespaces is None else set(namespaces)
        return [name for name, obj in self.pool.items() if (not roles or role(obj) in roles) and (homes is None or home(name) in homes)]

    def add(
        self,
        phase: str,
        name: str,
        title: str,
        why: str,
        *,
        namespaces: Sequence[str] = (),
        final: Sequence[Obj] = (),
        interim: Sequence[Obj] = (),
        delete: Sequence[Key] = (),
        leaves: bool = True,
        before: Sequence[Command] = (),
        after: Sequence[Command] = (),
        back: Sequence[Command] = (),
        first: Sequence[Check] = (),
        checks: Sequence[Check] = (),
        values: dict[str, Obj] | None = None,
        moves: Sequence[Workload] = (),
        judged: bool = True,
    ) -> Step:
        """One step. `delete` are keys of objects to delete; `leaves` false: they are the plan's own and no resource of the source. `back` comes last."""
        folder = self.folder(name)
        default = self.cluster.default
        manifests, previous, commands, undo, unmade = [], [], list(before), [], []
        files: dict[str, None] = {}
        for obj, passing in [*((each, False) for each in final), *((each, True) for each in interim)]:
            now = bare(obj, default)
            mark = key(now, default)
            stood = self.cluster.objects.get(mark)
            what, kind = role(now), "create" if stood is None else "change"
            file = f"{folder}/{RANKS[what]:02d}-{kind}-{what}.yaml"
            manifests.append(PlannedManifest(file=file, change=cast("Any", kind), interim=passing, object=now))
            files[file] = None
            if stood is not None:
                then = bare(stood, default)
                previous.append(
                    PlannedManifest(file=f"rollback/{folder}/{RANKS[what]:02d}-{what}.yaml", change="change", interim=False, object=then)
                )
                undo += words.removed(now, then)
        commands += [Command(run=f"kubectl apply -f {file}") for file in sorted(files)]
        for each in manifests:
            stood = self.cluster.objects.get(key(each.object, default))
            if stood is not None:
                commands += words.removed(bare(stood, default), each.object)
        for mark in delete:
            stood = self.cluster.objects.get(mark)
            if stood is None:
                continue
            then = bare(stood, default)
            what = role(then)
            file = f"rollback/{folder}/{RANKS[what]:02d}-{what}.yaml"
            manifests.append(PlannedManifest(file=file, change="delete", interim=not leaves, object=then))
            previous.append(PlannedManifest(file=file, change="delete", interim=False, object=then))
        gone = sorted({each.file for each in manifests if each.change == "delete"}, reverse=True)
        deletions = [Command(run=f"kubectl delete -f {file} --ignore-not-found") for file in gone]
        unmade = [
            Command(run=f"kubectl delete -f {file} --ignore-not-found")
            for file in sorted({each.file for each in manifests if each.change == "create"}, reverse=True)
        ]
        restore = [Command(run=f"kubectl apply -f {file}") for file in sorted({each.file for each in previous})]
        commands += [*(deletions if leaves else []), *after, *([] if leaves else deletions)]
        for each in manifests:
            mark = key(each.object, default)
            if each.change == "delete":
                del self.cluster.objects[mark]
            else:
                self.cluster.objects[mark] = each.object
        if values:
            self.cluster.values.update(values)
        for workload in moves:
            self.moved.setdefault(str(workload.ref), self.next)
        step = Step(
            number=self.next,
            slug=folder.partition("-")[2],
            folder=folder,
            phase=cast("Any", phase),
            title=title,
            why=why,
            namespaces=list(namespaces),
            workloads=[str(workload.ref) for workload in moves],
            first=list(first),
            commands=commands,
            manifests=manifests,
            values=values or {},
            checks=list(checks),
            back=[*restore, *undo, *unmade, *words.restart(list(reversed(moves)), "") * bool(moves), *back],
            previous=previous,
            windows=[],
            state=self._state() if judged else None,
        )
        self.steps.append(step)
        return step

    def _state(self) -> StateCheck:
        all_of = {str(workload.ref) for workload in self.movers}
        if self.calm:
            staying = all_of or {str(workload.ref) for workload in self.result.before.world.workloads}
            return judge(self.result, self.cluster, set(), staying, self.known)
        moved = set(self.moved)
        if not self.movers:
            return StateCheck(halves=[], says="Not computed: the input shows no workload that moves.")
        return judge(self.result, self.cluster, moved, all_of - moved, self.known)
