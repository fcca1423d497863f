CREATE TABLE waiting (
  decision bytea NOT NULL,
  action text NOT NULL,
  ends bigint NOT NULL,
  PRIMARY KEY (decision, action)
);
CREATE INDEX waiting_by_end ON waiting (ends);

-- What is old is found by this when it is to be forgotten.
CREATE INDEX decisions_by_time ON decisions (at);
