"""Personas: moving positions between centroids. Begin with `features`, then `centroids` and `position`."""
