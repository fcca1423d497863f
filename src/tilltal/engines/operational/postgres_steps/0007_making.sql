-- Customers as other definitions make them, until they take the place of those in use. Nobody is a member there.
CREATE TABLE next_owners (
  token bigint NOT NULL,
  place integer NOT NULL,
  valid_from bigint,
  valid_to bigint,
  profile bigint,
  is_plain boolean NOT NULL,
  PRIMARY KEY (token, place)
);
CREATE INDEX next_owners_by_profile ON next_owners (profile) WHERE profile IS NOT NULL;

CREATE TABLE next_profiles (profile bigint PRIMARY KEY, state bytea NOT NULL, due bigint)
  WITH (fillfactor = 60, toast_tuple_target = 8160);
ALTER TABLE next_profiles ALTER COLUMN state SET STORAGE EXTERNAL;
CREATE INDEX next_profiles_by_due ON next_profiles (due) WHERE due IS NOT NULL;

CREATE TABLE next_members (
  audience text NOT NULL,
  profile bigint NOT NULL,
  since bigint NOT NULL,
  PRIMARY KEY (audience, profile)
);
CREATE TABLE next_marks (name text PRIMARY KEY, value bytea NOT NULL);
