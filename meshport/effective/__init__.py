"""The effective policy of a workload and port: what all objects together come to, in a form that can be intersected, subtracted and compared."""
