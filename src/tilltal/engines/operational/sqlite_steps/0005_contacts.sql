-- Contacts that were asked for; `last` is NULL for those that were denied.
CREATE TABLE contacts (
  id BLOB PRIMARY KEY,
  token INTEGER NOT NULL,
  at INTEGER NOT NULL,
  last INTEGER,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX contacts_by_token ON contacts (token, last) WHERE last IS NOT NULL;
CREATE INDEX contacts_by_time ON contacts (at);
