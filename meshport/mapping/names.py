"""Names of objects that no cluster takes (k8s.io/docs/concepts/overview/working-with-objects/names)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshport.documents import Document

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
FILLED_IN = ("{{", "${", "$(")
"""What a text holds that is no value yet, but the place of one."""


def misnamed(document: Document) -> tuple[str, str] | None:
    """The member of the metadata that is no name, `name` or `namespace`, and what stands there; what is filled in before a cluster gets it may be one."""
    for key, text, form, most in (("name", document.name, _SUBDOMAIN, 253), ("namespace", document.named_namespace or "", _LABEL, 63)):
        if text and (len(text) > most or not form.fullmatch(text)) and not any(mark in text for mark in FILLED_IN):
            return key, text
    return None
