"""Who a caller is: Istio principals, Linkerd identities and SPIFFE ids as one `Identity`, and back into each form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from meshport.values import _grammar
from meshport.values.problems import ValueProblem

if TYPE_CHECKING:
    from meshport.values.language import Language


@dataclass(frozen=True, slots=True)
class Identity:
    """A service account, or all that share what is given: None stands for any. All None is every meshed caller."""

    trust_domain: str | None = None
    namespace: str | None = None
    service_account: str | None = None

    @property
    def exact(self) -> bool:
        return None not in (self.trust_domain, self.namespace, self.service_account)

    def covers(self, other: Identity) -> bool:
        """Whether every caller that the other names is one of these."""
        return (
            self.service_account in (None, other.service_account)
            and self.namespace in (None, other.namespace)
            and self.trust_domain in (None, other.trust_domain)
        )

    def istio(self) -> str | None:
        """The principal, None where no pattern says it (a namespace of any trust domain is Istio's `namespaces`, not a principal)."""
        domain, namespace, account = self.trust_domain, self.namespace, self.service_account
        if namespace is not None and account is not None:
            return f"{domain or '*'}/ns/{namespace}/sa/{account}"
        if namespace is not None:
            return f"{domain}/ns/{namespace}/*" if domain is not None else None
        if account is not None:
            return f"*/sa/{account}" if domain is None else None
        return f"{domain}/*" if domain is not None else "*"

    def linkerd(self, control_plane: str = "linkerd", trust_domain: str = "cluster.local") -> str | None:
        """The identity string; None for an account of any namespace. `control_plane` is its namespace, `trust_domain` what an open one is
        taken for.
        """
        if self == Identity():
            return "*"
        if self.namespace is None and self.service_account is not None:
            return None
        whose = f"{self.service_account or '*'}.{self.namespace}" if self.namespace is not None else "*"
        return f"{whose}.serviceaccount.identity.{control_plane}.{self.trust_domain or trust_domain}"


@dataclass(frozen=True, slots=True)
class IdentityGlob:
    """An identity that is no service account of Kubernetes, or a pattern that cuts through one; kept as it was written."""

    text: str

    def language(self) -> Language:
        """What it matches, read as Istio does: a leading or a trailing `*` is open, any other is itself."""
        from meshport.values.language import Language

        if self.text.startswith("*"):
            return Language.suffix(self.text[1:])
        return Language.prefix(self.text[:-1]) if self.text.endswith("*") else Language.exact(self.text)


EVERYONE = Identity()
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ACCOUNT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def nameable(identity: Identity) -> bool:
    """Whether Kubernetes takes its names, so that somebody may have it: a namespace's is a DNS label, an account's a DNS subdomain."""
    namespace, account = identity.namespace, identity.service_account
    return (namespace is None or bool(_NAMESPACE.fullmatch(namespace))) and (account is None or bool(_ACCOUNT.fullmatch(account)))


def is_label_value(text: str) -> bool:
    """Whether Kubernetes takes a text as the value of a label."""
    return len(text) <= 63 and _LABEL_VALUE.fullmatch(text) is not None


@lru_cache(maxsize=8192)
def parse_principal(text: str) -> Identity | IdentityGlob:
    """An Istio principal. What no `Identity` says exactly comes back as IdentityGlob, and what no account can be called. Raises ValueProblem
    for the empty text."""
    if not text:
        raise ValueProblem("an empty principal matches nobody")
    try:
        tree = _grammar.parse("principal", text, "a principal")
    except ValueProblem:
        return IdentityGlob(text)
    parts = [str(child) for child in tree.children]
    if tree.data == "everyone":
        return EVERYONE
    if tree.data == "account":
        found = Identity(None if parts[0] == "*" else parts[0], parts[2], parts[4])
    elif tree.data == "namespace":
        found = Identity(parts[0], parts[2])
    else:
        found = Identity(parts[0]) if tree.data == "domain" else Identity(None, None, parts[2])
    return found if nameable(found) else IdentityGlob(text)


@lru_cache(maxsize=4096)
def parse_spiffe(text: str) -> Identity | IdentityGlob:
    """A SPIFFE id; IdentityGlob where it is no Kubernetes service account. Raises ValueProblem."""
    domain, *path = (str(child) for child in _grammar.parse("spiffe", text, "a SPIFFE id").children)
    if "." in path or ".." in path:
        raise ValueProblem(f"{text!r} is not a SPIFFE id: a segment is . or ..")
    if len(path) == 4 and (path[0], path[2]) == ("ns", "sa"):
        return Identity(domain, path[1], path[3])
    return IdentityGlob(text)


@lru_cache(maxsize=8192)
def parse_linkerd(text: str, control_plane: str | None = None) -> Identity | IdentityGlob:
    """A Linkerd identity: `account.namespace.serviceaccount.identity.<control plane>.<trust domain>`, `*`, `*.…`, a SPIFFE id.

    With `control_plane`, an identity that another one issued is an IdentityGlob, as is anything that is no service account. Raises
    ValueProblem.
    """
    if text.startswith("spiffe:"):
        return parse_spiffe(text)
    tree = _grammar.parse("linkerd_identity", text, "a Linkerd identity")
    labels = [[str(token) for token in _grammar.tokens(dotted)] for dotted in _grammar.trees(tree)]
    if tree.data == "plain":
        return EVERYONE if labels == [["*"]] else IdentityGlob(text)
    (*whose, namespace), (issuer, *domain) = labels[0], labels[1]
    if not domain or issuer == "*" or (control_plane is not None and issuer != control_plane):
        return IdentityGlob(text)
    if not whose:
        return Identity(".".join(domain)) if namespace == "*" else IdentityGlob(text)
    if whose == ["*"]:
        return Identity(".".join(domain), namespace)
    return IdentityGlob(text) if "*" in whose else Identity(".".join(domain), namespace, ".".join(whose))
