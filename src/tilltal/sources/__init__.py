"""Sources: what a source file promises and what happens to rows that break it. Builds SQL; reads nothing itself. Begin with `contract`."""
