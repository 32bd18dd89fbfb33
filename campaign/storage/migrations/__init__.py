"""The history of the tables, one revision a file, forwards only: the way back is a backup.

``python -m campaign.storage.migrations "what changed"`` writes the next one.
"""
