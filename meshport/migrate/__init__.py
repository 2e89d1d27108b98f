"""What surrounds a conversion: the audit, the cutover plan."""
