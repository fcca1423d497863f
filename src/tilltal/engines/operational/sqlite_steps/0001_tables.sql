-- Positions are taken from here, so that none is given twice after rows of the log have moved to Parquet.
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('log', 0), ('changes', 0), ('profiles', 0);

CREATE TABLE log (
  position INTEGER PRIMARY KEY,
  event_id BLOB NOT NULL,
  token INTEGER NOT NULL,
  ids BLOB NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  source TEXT NOT NULL,
  at INTEGER NOT NULL,
  received INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;

-- The ids of all accepted messages, whether their rows are still in the log or not.
CREATE TABLE seen (event_id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;

CREATE TABLE observations (
  id BLOB NOT NULL,
  place INTEGER NOT NULL,
  namespace TEXT NOT NULL,
  token INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (id, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE identities (token INTEGER PRIMARY KEY, namespace TEXT NOT NULL, value BLOB) STRICT;

CREATE TABLE owners (
  token INTEGER NOT NULL,
  place INTEGER NOT NULL,
  valid_from INTEGER,
  valid_to INTEGER,
  profile INTEGER,
  is_plain INTEGER NOT NULL,
  PRIMARY KEY (token, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE profiles (profile INTEGER PRIMARY KEY, state BLOB NOT NULL, due INTEGER) STRICT;

CREATE TABLE members (
  audience TEXT NOT NULL,
  profile INTEGER NOT NULL,
  since INTEGER NOT NULL,
  PRIMARY KEY (audience, profile)
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (
  position INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  profile INTEGER NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT;

CREATE TABLE decisions (id BLOB PRIMARY KEY, at INTEGER NOT NULL, profile INTEGER, body BLOB NOT NULL) STRICT;

CREATE TABLE responses (
  id BLOB PRIMARY KEY,
  decision BLOB NOT NULL,
  action TEXT NOT NULL,
  channel TEXT NOT NULL,
  kind TEXT NOT NULL,
  at INTEGER NOT NULL,
  received INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE adaptive (name TEXT PRIMARY KEY, state BLOB NOT NULL) STRICT;
CREATE TABLE marks (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  hash BLOB NOT NULL,
  scopes BLOB NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER,
  revoked INTEGER
) STRICT;
