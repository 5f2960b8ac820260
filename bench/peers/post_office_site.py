"""A Django project with nothing but django-post-office. PEER_DATABASE_NAME, _USER, _PORT, PEER_SMTP_PORT, PEER_BEST."""

import os

BEST = os.environ.get("PEER_BEST") == "1"
SECRET_KEY = "bench"
USE_TZ = True
INSTALLED_APPS = ["post_office"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PEER_DATABASE_NAME"],
        "USER": os.environ["PEER_DATABASE_USER"],
        "HOST": "127.0.0.1",
        "PORT": os.environ["PEER_DATABASE_PORT"],
    }
}
EMAIL_BACKEND = "post_office.EmailBackend"
EMAIL_HOST = "127.0.0.1"
EMAIL_PORT = int(os.environ["PEER_SMTP_PORT"])
# Its README: processes, threads and batch size are what to raise for many mails (though threads, it says, seem to help
# little with SMTP). At its best it also writes no log of what was sent: the mail's own row says that.
POST_OFFICE = {"BATCH_SIZE": 5000, "THREADS_PER_PROCESS": 10, "LOG_LEVEL": 1} if BEST else {"BATCH_SIZE": 1000}
