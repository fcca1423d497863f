-- Contacts that were asked for; `last` is NULL for those that were denied.
CREATE TABLE contacts (
  id bytea PRIMARY KEY,
  token bigint NOT NULL,
  at bigint NOT NULL,
  last bigint,
  body bytea NOT NULL
);
CREATE INDEX contacts_by_token ON contacts (token, last) WHERE last IS NOT NULL;
CREATE INDEX contacts_by_time ON contacts (at);
