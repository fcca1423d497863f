"""The page that shows scenarios side by side. Begin with `data`, then `page`."""
