"""What the mirror means for our tables, one noun a module.

Each projection is a function of the object's current state alone, and writes only what differs:
projecting twice, or in another order, ends in the same rows.
"""
