"""Quality: how good a model is and stays: evaluation, reliability, drift, leaks. Begin with `evaluation`."""
