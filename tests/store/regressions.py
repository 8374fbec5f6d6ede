"""Seeds that once failed, one line each: the seed, the oracle that was hurt, and what was wrong.

A seed means a world only as long as the simulator draws as it did; so this list is a net, and the bug itself has its
own test in test_ledger.py.
"""

REGRESSIONS = ((221, "no_surprises", "map let LedgerFull out when the ledger had no room for another hold"),)
