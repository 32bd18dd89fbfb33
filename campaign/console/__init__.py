"""The web edge: webhooks in, and health. Stores first and answers after; what is stored a worker handles."""
