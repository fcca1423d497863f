"""Models: predictions of what a customer will do: training rows, propensity, calibration, cards. One method, one file, one source."""
