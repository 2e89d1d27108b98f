"""The command line: one file a command. Each parses, calls the library and prints; the work is imported where it is done."""
