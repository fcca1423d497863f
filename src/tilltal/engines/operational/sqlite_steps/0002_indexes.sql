CREATE INDEX log_by_token ON log (token, at);
CREATE INDEX observations_by_token ON observations (token);
CREATE INDEX owners_by_profile ON owners (profile) WHERE profile IS NOT NULL;
CREATE INDEX profiles_by_due ON profiles (due) WHERE due IS NOT NULL;
CREATE INDEX members_by_profile ON members (profile);
CREATE INDEX responses_by_decision ON responses (decision);

-- Counting a million states would read gigabytes.
UPDATE counters SET value = (SELECT count(*) FROM profiles) WHERE name = 'profiles';
CREATE TRIGGER profile_came AFTER INSERT ON profiles BEGIN
  UPDATE counters SET value = value + 1 WHERE name = 'profiles';
END;
CREATE TRIGGER profile_went AFTER DELETE ON profiles BEGIN
  UPDATE counters SET value = value - 1 WHERE name = 'profiles';
END;
