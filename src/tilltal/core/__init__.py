"""Core: the smallest things everybody shares: errors, time, money, pseudonymous ids, and the ports an engine must fill. Begin with `errors`."""
