"""Who is who, message by message, exactly as a refresh would find.

Begin with `resolver`.
"""
