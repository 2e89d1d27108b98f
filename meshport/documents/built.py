"""Manifests that are built from others: what a kustomization, or Flux and Argo CD with their own words for one, makes of the files that it lists.

meshport reads files as they stand. Where something is added to them before a cluster gets them, what they say is not what the cluster has.
https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

_CHANGES = (
    "namespace", "namePrefix", "nameSuffix", "labels", "commonLabels", "commonAnnotations", "patches", "patchesStrategicMerge", "patchesJson6902",
    "replacements", "vars", "transformers", "generators", "helmCharts", "helmChartInflationGenerator",
)  # fmt: skip
"""Fields of a kustomization that change, or add, what a mesh or a policy may ask about; images, replicas and generated ConfigMaps are not among them."""

_FLUX = (
    "targetNamespace",
    "namePrefix",
    "nameSuffix",
    "commonMetadata",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "components",
)
_ARGO = ("namespace", "namePrefix", "nameSuffix", "commonLabels", "commonAnnotations", "patches", "components")
_MAKES = ("transformers", "generators", "helmCharts", "helmChartInflationGenerator")
_LISTS = ("resources", "bases", "components")
_FILES = (".yaml", ".yml", ".json")
_ELSEWHERE = ("://", "github.com/", "git@", "?ref=")
_OWN_WORDS = {*_CHANGES, *_LISTS, "metadata", "images", "replicas", "configMapGenerator", "secretGenerator", "generatorOptions", "buildMetadata",
              "sortOptions", "configurations", "crds", "openapi", "validators", "helmGlobals", "inventory"}  # fmt: skip


def kustomized(value: Any, file: str | None) -> tuple[str, tuple[str, str]] | None:
    """Of a kustomization by which other manifests come out than those that it lists in its own tree: its first field that does so, and what to say of it
    (message, remedy). `apiVersion` and `kind` may be left out of one."""
    if not isinstance(value, Mapping):
        return None
    if "kind" in value or "apiVersion" in value:
        if value.get("kind") not in ("Kustomization", "Component") or not str(value.get("apiVersion", "")).startswith(
            "kustomize.config.k8s.io/"
        ):
            return None
    elif not value.keys() <= _OWN_WORDS:
        return None
    said = {key: key for key in _CHANGES if value.get(key)}
    for key in _LISTS:
        listed = value.get(key)
        if isinstance(listed, (list, tuple)) and any(isinstance(one, str) and any(mark in one for mark in _ELSEWHERE) for one in listed):
            said[key] = f"{key} from elsewhere"
    if not said:
        return None
    folder = PurePath(file or ".").parent
    message = f"the kustomization changes what it lists ({', '.join(said.values())}), and the files were read as they stand"
    return next(iter(said)), (message, f"give what it builds and leave the folder out: kubectl kustomize {folder} | meshport COMMAND - ...")


def tree_of(value: Mapping[str, Any], file: str | None) -> tuple[str, ...]:
    """The folders and files that a kustomization is about; none where it takes, or makes, what stands in no file of its tree."""
    folder = PurePath(file or ".").parent
    found = [str(folder)]
    for key in _LISTS:
        listed = value.get(key)
        for one in listed if isinstance(listed, (list, tuple)) else ():
            if not isinstance(one, str) or any(mark in one for mark in _ELSEWHERE):
                return ()
            found.append(os.path.normpath(folder / one))
    return () if any(value.get(key) for key in _MAKES) else tuple(found)


def patches(value: Any) -> tuple[list[str], list[str]]:
    """The files that a kustomization patches with, and those that it lists as objects."""
    if not isinstance(value, Mapping):
        return [], []
    listed = [value.get(key) for key in ("patches", "patchesStrategicMerge", "patchesJson6902")]
    said = [one.get("path") if isinstance(one, Mapping) else one for each in listed if isinstance(each, (list, tuple)) for one in each]
    resources = value.get("resources")
    objects = [one for one in resources if isinstance(one, str)] if isinstance(resources, (list, tuple)) else []
    return [one for one in said if isinstance(one, str) and "\n" not in one and one.lower().endswith(_FILES)], objects


def built_by_tool(group: str, kind: str, value: Mapping[str, Any]) -> tuple[str, list[str], str, str] | None:
    """Of a Kustomization of Flux and an Application of Argo CD that change manifests: the path of the fields, the fields, the folder that they are about,
    the command that shows the result. An object out of a cluster says nothing: what was built is in the cluster too."""
    spec, metadata = _mapping(value.get("spec")), _mapping(value.get("metadata"))
    if value.get("status") or metadata.get("uid"):
        return None
    if (group, kind) == ("kustomize.toolkit.fluxcd.io", "Kustomization"):
        folder = str(spec.get("path") or "./")
        said = [key for key in _FLUX if spec.get(key)]
        return ("spec", said, folder, f"flux build kustomization {metadata.get('name')} --path {folder}") if said else None
    if (group, kind) == ("argoproj.io", "Application"):
        source = _mapping(spec.get("source"))
        said = [key for key in _ARGO if _mapping(source.get("kustomize")).get(key)]
        return (
            ("spec.source.kustomize", said, str(source.get("path") or "."), f"argocd app manifests {metadata.get('name')}")
            if said
            else None
        )
    return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
