"""Celery's settings, all of them, each with its reason. The database holds the facts; Celery carries hints.

Read by ``celery -A workers …``. Nothing here may matter for correctness: an order that is lost, doubled, late or
replayed finds in the database what is to be done, or finds nothing to do.
"""

import os
from pathlib import Path

from kombu import Queue

from campaign.config import load_settings

# Where the hints travel. Required here: the embedded broker of one machine sets it for the worker that it starts.
# Read as every other setting is: environment or campaign.toml, and a password may stand in a file (file:PATH).
broker_url = load_settings({}, os.environ, Path.cwd()).broker_url or "redis://127.0.0.1:6379/0"

# A worker that starts before its broker waits for it, and one that loses it comes back, without a person.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None

# A Redis that refuses (its memory or disk is full, a replica took over) is come back to as one that is away. Else a
# worker ended by itself where the refusal met an acknowledgement.
broker_channel_error_retry = True

# Redis hands a message out again when it is not acknowledged for this long. Orders live seconds, so an hour only means
# "never in practice"; were it shorter, an order would merely be carried out twice and find nothing.
broker_transport_options = {
    "visibility_timeout": 3600,
    # A broker that vanished without closing its sockets must be noticed: silence on a socket ends the wait.
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 15,
    # A tick that cannot publish must fail soon and try again a second later instead of hanging.
    "retry_policy": {"timeout": 5.0},
}

# JSON only, in and out: pickle would let whoever writes to the broker run code in the workers.
task_serializer = "json"
result_serializer = "json"
event_serializer = "json"
accept_content = ["json"]

# No result backend: nobody waits for an order, and results would cost half again per task and hold what they say.
result_backend = None
task_ignore_result = True
task_store_errors_even_if_ignored = False

# Four queues, so that each kind of work can have workers of its own: a flood of dialling must not delay results.
task_queues = [Queue("dial"), Queue("poll"), Queue("intake"), Queue("control")]
task_default_queue = "control"
task_routes = {
    "dial": {"queue": "dial"},
    "poll": {"queue": "poll"},
    "settle": {"queue": "poll"},
    "hooks": {"queue": "poll"},
    "intake": {"queue": "intake"},
    "tick": {"queue": "control"},
}
task_create_missing_queues = False  # a misspelt queue name must fail instead of collecting orders that nobody reads

# Acknowledged when taken, not when done: a worker that dies must not leave an order to be replayed. The tick sends a
# new one within a second where there is still work.
task_acks_late = False

# One order in the hand, none in reserve: an order that waits behind another in a busy process only expires.
worker_prefetch_multiplier = 1

# Publishing is tried twice and then given up: the next tick is one second away.
task_publish_retry = True
task_publish_retry_policy = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}

# No order takes arguments beyond a line's name or an upload's number, so events may show them; Flower needs events.
worker_send_task_events = True
task_send_sent_event = False

# The last fence round an order that hangs in our own code; every wait inside is bounded far below. (Prefork only.)
task_soft_time_limit = 600
task_time_limit = 660

# SIGTERM: orders end within two seconds, requests in the air within their deadline. Then the process may go.
worker_soft_shutdown_timeout = 30.0

# Our own logging is set up in workers.app, with redaction on the root handlers.
worker_hijack_root_logger = False
worker_redirect_stdouts = False

# The one periodic message. It expires before the next is due, so a worker that was away finds one and not a thousand.
beat_schedule = {"tick": {"task": "tick", "schedule": 1.0, "options": {"expires": 2.0, "queue": "control"}}}
# Beat keeps no file: it has nothing to remember, and a second beat only asks the same question twice.
beat_scheduler = "celery.beat:Scheduler"
beat_max_loop_interval = 1.0

# All times are epoch seconds in the database; Celery's own are only logged.
timezone = "UTC"
enable_utc = True
