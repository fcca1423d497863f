-- Work in the background that one server at a time may do.
CREATE TABLE leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, ends INTEGER NOT NULL) STRICT;
