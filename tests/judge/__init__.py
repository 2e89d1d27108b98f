"""An independent judge: what Istio or Linkerd would do with a request, computed from manifests alone and without meshport."""

from .world import Undecided, World

__all__ = ["Undecided", "World"]
