"""A deterministic simulation: the real policies, the workers' protocol, a simulated world that wants to break them.

One seed is one world: its numbers, limits, provider, faults and every delay come from one ``random.Random(seed)``.
Time jumps from event to event. ``oracle.py`` watches the ground truth and raises :class:`Violation`.
"""
