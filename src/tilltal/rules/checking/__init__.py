"""Names, functions and types of a syntax tree resolved, every fault found. Begin with `checker`."""
