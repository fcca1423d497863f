"""Card: what a model is, said on one page with pictures. Begin with `text`."""
