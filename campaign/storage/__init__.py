"""Memory: the only SQL. Facts live here; every other room decides from what it is handed."""
