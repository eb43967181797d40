"""The panels, row by row in the order in which an event travels."""

from typing import Final

from grafana.model import REQUESTS, Panel, Row, quantile, rate, share_without

_SERVED: Final = '$of,route!~"/healthz|/readyz|/metrics"'
_ONE_EVENT: Final = '$of,method="POST",route="/api/v1/logs",status="201"'

_ALL: Final = f"{REQUESTS}_count{{{_SERVED}}}"
_FAILED: Final = f'{REQUESTS}_count{{{_SERVED},status=~"5.."}}'
_SEARCHES: Final = "tallystick_searches_total{$of}"
_INCOMPLETE: Final = 'tallystick_searches_total{$of,complete="false"}'

ROWS: Final = (
    Row(
        "Objectives",
        (
            Panel(
                "Availability, 30 days",
                {
                    "": share_without(
                        f'{REQUESTS}_count{{{_SERVED},status=~"5.."}}', f"{REQUESTS}_count{{{_SERVED}}}", "30d"
                    )
                },
                "percentunit",
                "Requests that were not answered 5xx. The objective is 99.9 %.",
                kind="stat",
                limits=(0.9995, 0.999),
                width=4,
                least_is_worst=True,
            ),
            Panel(
                "Freshness, 30 days",
                {
                    "": share_without(
                        'tallystick_searches_total{$of,complete="false"}', "tallystick_searches_total{$of}", "30d"
                    )
                },
                "percentunit",
                "Searches that saw every event stored before them. The objective is 99 %.",
                kind="stat",
                limits=(0.995, 0.99),
                width=4,
                least_is_worst=True,
            ),
            Panel(
                "Lost, 30 days",
                {"": "sum(increase(tallystick_access_events_lost_total{$of}[30d]))"},
                "short",
                "Events of access logs that were never stored. None may be.",
                kind="stat",
                limits=(0.5, 0.5),
                width=4,
            ),
            Panel(
                "Leaks",
                {"": "max(tallystick_probe_leaks)"},
                "short",
                "What the isolation probe found last. Empty where it does not run.",
                kind="stat",
                limits=(0.5, 0.5),
                width=4,
            ),
            Panel(
                "Stored",
                {"": rate("tallystick_appended_events_total")},
                "cps",
                "Events a second.",
                kind="stat",
                width=4,
            ),
            Panel(
                "Behind",
                {"": "max(tallystick_follower_lag_seconds{$of})"},
                "s",
                "Age of the oldest event that a follower has not handled.",
                kind="stat",
                limits=(15, 60),
                width=4,
            ),
        ),
    ),
    Row(
        "Requests",
        (
            Panel(
                "Answers",
                {"{{status}}": rate(f"{REQUESTS}_count", "status", _SERVED)},
                "reqps",
                "Requests a second by status. 429 is a rate limit, 503 overload or something that does not answer.",
                stacked=True,
            ),
            Panel(
                "Time to answer: one in a hundred, by route",
                {"{{method}} {{route}}": f"topk(8, {quantile(0.99, REQUESTS, 'method, route', _SERVED)})"},
                "s",
                "The slowest hundredth of the requests of a route takes this long or longer.",
            ),
            Panel(
                "Time to store one event",
                {f"p{part * 100:g}": quantile(part, REQUESTS, where=_ONE_EVENT) for part in (0.5, 0.95, 0.99)},
                "s",
                "POST /api/v1/logs that were answered 201.",
                limits=(0.1, 0.25),
            ),
            Panel(
                "Rate-limited, and denied",
                {
                    "rate-limited: {{limit}}": rate("tallystick_rate_limited_total", "limit"),
                    "{{reason}}": rate("tallystick_access_refused_total", "reason"),
                },
                "reqps",
                "Requests a second that were refused: for how many they were, or for who sent them.",
            ),
            Panel(
                "Masked",
                {"{{rule}}": rate("tallystick_masked_total", "rule")},
                "cps",
                "Values a second that were masked. Where a rule rises, an application began to send secrets.",
                stacked=True,
            ),
            Panel(
                "Searches",
                {"complete: {{complete}}": rate("tallystick_searches_total", "complete")},
                "reqps",
                "Searches a second, by whether they saw every event.",
                stacked=True,
            ),
        ),
    ),
    Row(
        "The log",
        (
            Panel(
                "Accepted and committed",
                {
                    "accepted": rate("tallystick_accepted_events_total"),
                    "committed": rate("tallystick_appended_events_total"),
                },
                "cps",
                "Events a second. The lines lie on each other: what is accepted is stored, or was stored before.",
            ),
            Panel(
                "Waiting",
                {
                    "to be stored": "sum(tallystick_append_waiting_events{$of})",
                    "for access logs": "sum(tallystick_access_waiting_events{$of})",
                },
                "short",
                "Events in the writers' queues. Where they are full, requests are answered 503.",
            ),
            Panel(
                "Events in a transaction",
                {
                    "p50": quantile(0.5, "tallystick_append_batch_events"),
                    "p99": quantile(0.99, "tallystick_append_batch_events"),
                },
                "short",
                "Requests that come while a transaction commits go together in the next one.",
            ),
            Panel(
                "Time to commit",
                {
                    "p50": quantile(0.5, "tallystick_append_seconds"),
                    "p99": quantile(0.99, "tallystick_append_seconds"),
                },
                "s",
                "Seconds of a transaction. Slow commits fill the queue: look at the database's disk.",
                limits=(0.2, 1),
            ),
            Panel(
                "Transactions that failed",
                {"{{reason}}": rate("tallystick_append_failures_total", "reason")},
                "cps",
                "By reason. Those of class 22 and 23 are a client's; all others are the database's or ours.",
            ),
            Panel(
                "Removed",
                {"{{way}}": rate("tallystick_removed_events_total", "way")},
                "cps",
                "Events a second that left by retention, cleanup or offboarding.",
            ),
        ),
    ),
    Row(
        "What follows the log",
        (
            Panel(
                "Behind",
                {"{{follower}}": "max by (follower) (tallystick_follower_lag_seconds{$of})"},
                "s",
                "Age of the oldest event that a follower has not handled.",
                limits=(15, 60),
            ),
            Panel(
                "Indexed",
                {"{{follower}}": rate("tallystick_follower_events_total", "follower")},
                "cps",
                "Events a second that each follower handled.",
            ),
            Panel(
                "From arrival to handled",
                {
                    "{{follower}} p50": quantile(0.5, "tallystick_follower_delay_seconds", "follower"),
                    "{{follower}} p99": quantile(0.99, "tallystick_follower_delay_seconds", "follower"),
                },
                "s",
                "Of the oldest event of each stretch. Searches look at what is not indexed yet themselves.",
            ),
            Panel(
                "Time of a stretch",
                {"{{follower}} p99": quantile(0.99, "tallystick_follower_batch_seconds", "follower")},
                "s",
                "Seconds to handle up to 10,000 events of a log, and to move the cursor.",
            ),
            Panel(
                "Failures, and quarantine",
                {
                    "{{follower}}: {{reason}}": rate("tallystick_follower_failures_total", "follower, reason"),
                    "{{follower}}: in quarantine": "max by (follower) (tallystick_follower_quarantined_events{$of})",
                },
                "short",
                "Logs left for a while, a second, and events that could not be handled.",
            ),
            Panel(
                "Waiting to be handled",
                {
                    "{{follower}}: events": "max by (follower) (tallystick_follower_lag_events{$of})",
                    "{{follower}}: logs": "max by (follower) (tallystick_follower_logs_behind{$of})",
                },
                "short",
                "Events that a follower has not handled, and the logs that they are in.",
            ),
        ),
    ),
    Row(
        "Queue and jobs",
        (
            Panel(
                "Messages",
                {"{{queue}}: {{state}}": "max by (queue, state) (tallystick_queue_messages{$of})"},
                "short",
                "What waits, what is taken, and what was given out too often.",
            ),
            Panel(
                "Jobs",
                {"{{state}}": 'max by (state) (tallystick_jobs{$of,state=~"queued|running|failed"})'},
                "short",
                "Those that failed are counted of all time.",
            ),
            Panel(
                "Exports",
                {
                    "{{state}}": "max by (state) (tallystick_exports{$of})",
                    "written in an hour": "max(increase(tallystick_exports_written_total{$of}[1h]))",
                    "removed in an hour": "max(increase(tallystick_exports_removed_total{$of}[1h]))",
                },
                "short",
                "Exports for the object store.",
            ),
        ),
    ),
    Row(
        "Streams",
        (
            Panel("Open", {"streams": "sum(tallystick_streams_open{$of})"}, "short", "Over all processes.", width=6),
            Panel(
                "Sent",
                {
                    "events": rate("tallystick_stream_events_total"),
                    "frames": rate("tallystick_stream_frames_total"),
                },
                "cps",
                "A second, each event as often as it was sent.",
                width=6,
            ),
            Panel(
                "From arrival to hand-over",
                {
                    "p50": quantile(0.5, "tallystick_stream_delay_seconds"),
                    "p99": quantile(0.99, "tallystick_stream_delay_seconds"),
                },
                "s",
                "A tenth of a second is usual.",
                width=6,
            ),
            Panel(
                "Ended",
                {"{{code}}": rate("tallystick_streams_closed_total", "code")},
                "cps",
                "By close code. 4408 are clients that read too slowly.",
                width=6,
            ),
        ),
    ),
    Row(
        "What it stands on",
        (
            Panel(
                "Connections in use",
                {
                    "{{pool}}": "sum by (pool) (tallystick_pool_used_connections{$of})",
                    "{{pool}}: most": "sum by (pool) (tallystick_pool_most_connections{$of})",
                },
                "short",
                "And how many there may be. API processes leave their pool `worker` alone.",
            ),
            Panel(
                "Waiting for a connection",
                {
                    "{{pool}} p99": quantile(0.99, "tallystick_pool_wait_seconds", "pool"),
                    "{{pool}}: failures a second": rate("tallystick_pool_failures_total", "pool"),
                },
                "s",
                "One in a hundred waits this long or longer.",
            ),
            Panel(
                "Object store",
                {
                    "{{operation}} p99": quantile(0.99, "tallystick_object_request_seconds", "operation"),
                    "{{operation}}: failures a second": rate("tallystick_object_failures_total", "operation"),
                },
                "s",
                "Seconds of one call.",
            ),
            Panel(
                "Master keys",
                {
                    "{{operation}} p99": quantile(0.99, "tallystick_key_ring_seconds", "operation"),
                    "{{operation}}: {{reason}} a second": rate(
                        "tallystick_key_ring_failures_total", "operation, reason"
                    ),
                },
                "s",
                "Seconds of one call of the key ring.",
            ),
            Panel(
                "Rate limiter",
                {
                    "p99": quantile(0.99, "tallystick_rate_limiter_seconds"),
                    "failures a second": rate("tallystick_rate_limiter_failures_total"),
                },
                "s",
                "Seconds in which the shared server counted a request; empty where each process counts for itself.",
            ),
            Panel(
                "Processor",
                {"{{instance}}": "rate(process_cpu_seconds_total{$of}[$__rate_interval])"},
                "percentunit",
                "Of one core. An API process uses one at most. Not with `tallystick up`.",
            ),
            Panel(
                "Memory",
                {"{{instance}}": "process_resident_memory_bytes{$of}"},
                "bytes",
                "Of each process. Not with `tallystick up`.",
            ),
        ),
    ),
)
