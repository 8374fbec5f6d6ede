"""Sessions of more than one node: further agents join the head of this process's session, here on one machine."""
