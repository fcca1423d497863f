"""What a decision plan does to all customers, beside other plans. Begin with `observed`.

Arrays in, frozen values out: reading profiles and writing pages is the runtime's and the insight's.
"""
