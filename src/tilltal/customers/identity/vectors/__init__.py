"""Vectors: the steps of the resolver over arrays, for millions of observations. Its face is `..bulk`."""
