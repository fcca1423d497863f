-- Work in the background that one server at a time may do.
CREATE TABLE leases (name text PRIMARY KEY, owner text NOT NULL, ends timestamptz NOT NULL);
