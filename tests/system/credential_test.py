#!/usr/bin/python3
"""A credential goes from the vault to the target of a call and nowhere else: its server sees exactly that and nothing of what the
caller put there; the caller, the files, the logs and the memory of either daemon that a dump would show never have it. What is
replaced under load is not used after the answer, and no call fails; a locked vault denies; a kill loses nothing."""
import json
import secrets
import signal
import subprocess
import threading
import time

from canary_test import dumpable_memory
from common import BUILD, check, main, wait_until
from http_test import Client, ask, serve, upstream
from vault_test import credentials, ctl, restart, state, unlocked

OWN = {"Authorization": "Bearer of-the-caller", "proxy-authorization": "Basic of-the-caller", "X-API-KEY": "of-the-caller",
       "x-other": "stays"}


def give(lab, value, name="key", protocol="raw", header="Authorization: Bearer {}", **kwargs):
    return ctl(lab, "credential", "set", name, "--tenant", "7", "--target", "beta", "--protocol", protocol, "--header", header,
               secret=value, **kwargs)


def seen(lab, target="/beta/echo", fields=None):
    """The request's fields as beta's server got them."""
    status, _, body = ask(lab, "GET", target, fields=OWN if fields is None else fields)
    check(status == 200, f"GET {target}: {status} {body[:200]}")
    return json.loads(body)


def reason_of(lab):
    status, _, body = ask(lab, "GET", "/beta/echo")
    return status, json.loads(body).get("reason") if status != 200 else None
