-- Ids and tokens come in no order. An index of pages would read and write one page somewhere for each of them;
-- FTS5 gathers terms in sorted segments, and merges these now and then.
INSERT INTO counters VALUES ('seen', (SELECT count(*) FROM seen));
CREATE VIRTUAL TABLE seen_ids USING fts5(id, content = '', detail = none, columnsize = 0, tokenize = 'ascii');
INSERT INTO seen_ids (rowid, id) SELECT row_number() OVER (), hex(event_id) FROM seen;
CREATE VIRTUAL TABLE seen_terms USING fts5vocab(seen_ids, row);
DROP TABLE seen;

-- Which rows of the log a token leads: a rowid is a position.
CREATE VIRTUAL TABLE log_tokens USING fts5(token, content = '', detail = none, columnsize = 0, tokenize = 'ascii');
INSERT INTO log_tokens (rowid, token) SELECT position, printf('%x', token) FROM log;
DROP INDEX log_by_token;
