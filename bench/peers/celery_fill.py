"""Queues the tasks: `python celery_fill.py FIRST LAST`."""

import sys

from celery_worker import app, send_letter

if __name__ == "__main__":
    with app.producer_or_acquire() as producer:
        for number in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
            send_letter.apply_async((number,), producer=producer)
