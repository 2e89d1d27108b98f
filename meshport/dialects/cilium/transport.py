"""Encryption and the demand for an identity, written for Cilium: settings of the installation, and policies that admit meshed peers alone."""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.output import Output
from meshport.ir.model import IR


def lower(ir: IR, out: Output, options: Options) -> None:
    """Encryption as install settings."""
