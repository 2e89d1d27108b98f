"""What is measured: PromQL, and the rules, dashboards and objectives that carry it."""
