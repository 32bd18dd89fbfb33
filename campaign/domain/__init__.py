"""The words of the house. Imports nothing of ours."""
