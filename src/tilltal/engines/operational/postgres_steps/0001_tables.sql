-- Positions are taken from here under a row lock that lasts until the commit: whoever reads after a position
-- never misses a row that is committed later with a lower one.
CREATE TABLE counters (name text PRIMARY KEY, value bigint NOT NULL) WITH (fillfactor = 10);
INSERT INTO counters VALUES ('log', 0), ('changes', 0);

CREATE TABLE log (
  position bigint PRIMARY KEY,
  event_id bytea NOT NULL,
  token bigint NOT NULL,
  ids bytea NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  source text NOT NULL,
  at bigint NOT NULL,
  received bigint NOT NULL,
  body bytea NOT NULL
);

-- The ids of all accepted messages, whether their rows are still in the log or not.
CREATE TABLE seen (event_id bytea PRIMARY KEY);

CREATE TABLE observations (
  id bytea NOT NULL,
  place integer NOT NULL,
  namespace text NOT NULL,
  token bigint NOT NULL,
  at bigint NOT NULL,
  PRIMARY KEY (id, place)
);

CREATE TABLE identities (token bigint PRIMARY KEY, namespace text NOT NULL, value bytea);

CREATE TABLE owners (
  token bigint NOT NULL,
  place integer NOT NULL,
  valid_from bigint,
  valid_to bigint,
  profile bigint,
  is_plain boolean NOT NULL,
  PRIMARY KEY (token, place)
);

-- A state is rewritten all the time. It stays in its row (no TOAST, no compression), on pages with room beside it.
CREATE TABLE profiles (profile bigint PRIMARY KEY, state bytea NOT NULL, due bigint)
  WITH (fillfactor = 60, toast_tuple_target = 8160);
ALTER TABLE profiles ALTER COLUMN state SET STORAGE EXTERNAL;

CREATE TABLE members (
  audience text NOT NULL,
  profile bigint NOT NULL,
  since bigint NOT NULL,
  PRIMARY KEY (audience, profile)
);

CREATE TABLE changes (
  position bigint PRIMARY KEY,
  at bigint NOT NULL,
  profile bigint NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  body bytea NOT NULL
);

CREATE TABLE decisions (id bytea PRIMARY KEY, at bigint NOT NULL, profile bigint, body bytea NOT NULL);

CREATE TABLE responses (
  id bytea PRIMARY KEY,
  decision bytea NOT NULL,
  action text NOT NULL,
  channel text NOT NULL,
  kind text NOT NULL,
  at bigint NOT NULL,
  received bigint NOT NULL
);

CREATE TABLE adaptive (name text PRIMARY KEY, state bytea NOT NULL);
CREATE TABLE marks (name text PRIMARY KEY, value bytea NOT NULL);

CREATE TABLE api_keys (
  id text PRIMARY KEY,
  name text NOT NULL,
  hash bytea NOT NULL,
  scopes bytea NOT NULL,
  created bigint NOT NULL,
  expires bigint,
  revoked bigint
);
