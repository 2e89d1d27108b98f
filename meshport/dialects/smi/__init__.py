"""The Service Mesh Interface, read only: Linkerd's older way of splitting traffic."""
