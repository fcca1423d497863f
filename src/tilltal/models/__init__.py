"""Predictions of what a customer will do.

Training rows, propensity, calibration, cards. One method, one file, one source. Begin with `model`.
"""
