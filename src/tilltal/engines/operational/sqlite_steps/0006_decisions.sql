-- What was decided for one customer.
CREATE INDEX decisions_by_profile ON decisions (profile, id) WHERE profile IS NOT NULL;
