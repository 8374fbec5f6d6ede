"""Nodes that come and go by demand, under a seed: real cores of head and nodes, and a provider with faults."""
