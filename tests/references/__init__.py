"""References of several processes under a seed: real tables, real ``Following``; simulated links, store, deaths."""
