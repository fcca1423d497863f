"""The smallest things everybody shares.

Errors, time, money, pseudonymous ids, and the ports an engine must fill. Begin with `errors`.
"""
