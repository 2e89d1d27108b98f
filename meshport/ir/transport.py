"""Whether a port accepts plaintext: `strict` refuses it, `permissive` accepts both, `disable` speaks plaintext only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from meshport.ir.authorization import Network
from meshport.ir.base import LAST, Fact, PodSet, Ref


@dataclass(frozen=True, slots=True)
class TransportRule:
    """What one object says. `level` is mesh, namespace or workload; the most specific one that says anything wins, port by port."""

    ref: Fact[Ref]
    level: str
    subject: Fact[PodSet]
    mode: Fact[str] | None  # None: inherits
    ports: dict[int, Fact[str]] = field(default_factory=dict, hash=False)
    document: int = 0
    created: str = LAST  # of several at one level the oldest holds
    inheriting: dict[int | None, Fact[str]] = field(default_factory=dict, hash=False)  # ports (None: the rest) that are said to inherit

    @property
    def order(self) -> tuple[str, Ref]:
        return self.created, self.ref.value

    @property
    def modes(self) -> list[Fact[str]]:
        """The modes that it says, of whichever port."""
        return [fact for fact in (self.mode, *self.ports.values()) if fact is not None]

    @property
    def refuses(self) -> bool:
        """Whether it refuses plaintext on some port."""
        return any(fact.value == "strict" for fact in self.modes)


def refusing(rules: Iterable[TransportRule]) -> frozenset[str]:
    """The namespaces that a rule refuses plaintext in; "" where one for the whole mesh does."""
    return frozenset("" if rule.level == "mesh" else rule.subject.value.namespace or "" for rule in rules if rule.refuses)


def tells_apart(rule: TransportRule, refused: frozenset[str], inherited: str) -> bool:
    """Whether it matters which pods a rule is for, where `refused` are the namespaces that plaintext is refused in, and `inherited` is the mode that the
    pods of one workload have without it."""
    if rule.level == "workload" and all((mode.value == "strict") == (inherited == "strict") for mode in rule.modes):
        return False
    return bool(refused) and (rule.level == "mesh" or "" in refused or rule.subject.value.namespace in refused)


@dataclass(frozen=True, slots=True)
class PortSetting:
    """Ports that the proxy treats otherwise: `kind` opaque, skip-inbound, skip-outbound; ranges are inclusive container or Service ports."""

    subject: PodSet
    kind: str
    ranges: Fact[tuple[tuple[int, int], ...]]
    on: str  # workload, namespace or service
    document: int = 0


@dataclass(frozen=True, slots=True)
class Uncaptured:
    """Addresses that connections of pods go to past the proxy, on every port but those that it takes wherever they lead (`captured`)."""

    subject: PodSet
    networks: Fact[tuple[Network, ...]]
    captured: Fact[tuple[tuple[int, int], ...]] = field(default_factory=lambda: Fact(()))
    document: int = 0
