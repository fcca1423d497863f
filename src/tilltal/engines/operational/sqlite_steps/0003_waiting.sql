CREATE TABLE waiting (
  decision BLOB NOT NULL,
  action TEXT NOT NULL,
  ends INTEGER NOT NULL,
  PRIMARY KEY (decision, action)
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting_by_end ON waiting (ends);

-- What is old is found by this when it is to be forgotten.
CREATE INDEX decisions_by_time ON decisions (at);
