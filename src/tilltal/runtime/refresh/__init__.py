"""Everything about all customers computed again, as of one instant, and swapped in as a snapshot.

Begin with `run`; `views` shows history as of an instant, `profiles` makes one profile per person from it.
"""
