"""Pictures as small SVG texts, readable in print and without colour. Begin with `plane`."""
