-- What was decided for one customer, in sorted segments too: a rowid is the beginning of a decision's id.
CREATE VIRTUAL TABLE decision_profiles
USING fts5(profile, content = '', detail = none, columnsize = 0, tokenize = 'ascii');
INSERT INTO decision_profiles (rowid, profile)
SELECT decision_number(id), printf('%x', profile) FROM decisions WHERE profile IS NOT NULL ORDER BY id;
DROP INDEX decisions_by_profile;

-- A little is merged with each commit, instead of much with a few.
INSERT INTO decision_profiles (decision_profiles, rank) VALUES ('automerge', 0);
INSERT INTO decision_profiles (decision_profiles, rank) VALUES ('crisismerge', 1000);
INSERT INTO seen_ids (seen_ids, rank) VALUES ('automerge', 0);
INSERT INTO seen_ids (seen_ids, rank) VALUES ('crisismerge', 1000);
INSERT INTO log_tokens (log_tokens, rank) VALUES ('automerge', 0);
INSERT INTO log_tokens (log_tokens, rank) VALUES ('crisismerge', 1000);
