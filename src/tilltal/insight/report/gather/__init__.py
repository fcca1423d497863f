"""From a snapshot's tables to what the page shows: a module per section. Begin with `tables.Tables`."""
