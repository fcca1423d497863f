-- Customers as other definitions make them, until they take the place of those in use. Nobody is a member there.
CREATE TABLE next_owners (
  token INTEGER NOT NULL,
  place INTEGER NOT NULL,
  valid_from INTEGER,
  valid_to INTEGER,
  profile INTEGER,
  is_plain INTEGER NOT NULL,
  PRIMARY KEY (token, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX next_owners_by_profile ON next_owners (profile) WHERE profile IS NOT NULL;

CREATE TABLE next_profiles (profile INTEGER PRIMARY KEY, state BLOB NOT NULL, due INTEGER) STRICT;
CREATE INDEX next_profiles_by_due ON next_profiles (due) WHERE due IS NOT NULL;

CREATE TABLE next_members (
  audience TEXT NOT NULL,
  profile INTEGER NOT NULL,
  since INTEGER NOT NULL,
  PRIMARY KEY (audience, profile)
) STRICT, WITHOUT ROWID;
CREATE TABLE next_marks (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;

INSERT INTO counters VALUES ('next_profiles', 0);
CREATE TRIGGER next_profile_came AFTER INSERT ON next_profiles BEGIN
  UPDATE counters SET value = value + 1 WHERE name = 'next_profiles';
END;
CREATE TRIGGER next_profile_went AFTER DELETE ON next_profiles BEGIN
  UPDATE counters SET value = value - 1 WHERE name = 'next_profiles';
END;
