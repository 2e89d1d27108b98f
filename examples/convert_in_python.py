"""Convert a bundle from Python: read, convert, look at what was lost, write.

python examples/convert_in_python.py corpus/saas-api/linkerd out/
"""

from __future__ import annotations

import sys

import meshport


def main(source: str, folder: str) -> int:
    """Convert a Linkerd bundle to Istio; 1 where something needs a person."""
    bundle = meshport.load(source)
    result = meshport.convert(bundle, source="linkerd", target="istio")

    errors = [finding for finding in result.findings if finding.severity == "error"]
    for finding in errors:
        sys.stderr.write(f"{finding.code} {finding.message}\n    {finding.remedy}\n")

    counts = result.ledger.counts
    assert counts["unaccounted"] == 0
    sys.stderr.write(f"{counts['translated']} of {counts['leaves']} leaves translated\n")

    for name in result.write(folder):
        sys.stdout.write(f"{folder}/{name}\n")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
