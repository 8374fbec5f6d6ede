"""References of several processes under a seed: real tables and real ``Following``, simulated links, store and deaths."""
