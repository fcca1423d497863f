"""The process that listens: uvicorn with patience that ends. Begin with `server`."""
