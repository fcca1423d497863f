"""Contact policy: may this customer be contacted so, now? Consent, quiet hours, cool-downs, caps, holdouts.

It knows no store and no clock: contacts, outcomes, answers and the instant are given. Begin with `policy`,
which judges one contact; `ledger` keeps reservations; `batch` is the same in SQL for everybody at once.
"""
