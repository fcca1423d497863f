"""When customers are there: the hours of the day at which something happens, of one customer and of all.

`local_hours` tells the hours, `rhythm` what follows from them.
"""
