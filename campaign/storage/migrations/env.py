"""What Alembic runs. The connection, and the transaction around everything, come from ``campaign.storage.migrate``."""

from alembic import context

from campaign.storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
