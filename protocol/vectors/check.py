#!/usr/bin/env python3
"""Holds vectors/signing.json against a verifier of its own, in the standard library. Exits 1 on any difference.

`verify` is also how to check an event in Python.
"""
import base64
import datetime
import hashlib
import hmac
import json
import pathlib
import re
import sys

HEADERS = ("x-wa-key", "x-wa-audience", "type", "message_id", "x-wa-workspace", "x-wa-session",
           "x-wa-issued-at", "x-wa-expires-at", "content_type")
ROLES = {"wa.commands": ("commands", "ops"), "wa.events": ("events",)}
MAX_BODY, MAX_HEADER, MAX_LIFETIME, MAX_SKEW = 1 << 20, 512, 30 * 86400, 300


def canonical_string(fields, body):
    return "\n".join(["WA1", *fields, hashlib.sha256(body).hexdigest(), ""])


def verify(ring, properties, headers, body, audience, now):
    """None when the message is to be believed, else the reason why not."""
    if len(body) > MAX_BODY:
        return "too_large"
    if "x-wa-signature" not in headers:
        return "unsigned"
    values = {**headers, **properties}
    for name in ("x-wa-signature", *HEADERS):
        if name not in values:
            return "missing_header"
        if not isinstance(values[name], str):
            return "header_not_text"
        if len(values[name].encode()) > MAX_HEADER:
            return "header_too_long"
    fields = [values[name] for name in HEADERS]
    key_id, signed_audience, _, message_id, workspace, session, issued_at, expires_at, content_type = fields

    signature = re.fullmatch(r"WA1=([A-Za-z0-9_-]{43})", values["x-wa-signature"])
    if not signature:
        return "malformed_signature"
    tag = base64.urlsafe_b64decode(signature[1] + "=")
    if base64.urlsafe_b64encode(tag).decode().rstrip("=") != signature[1]:
        return "malformed_signature"
    key = next((key for key in ring["keys"] if key["id"] == key_id), None)
    if key is None:
        return "unknown_key"
    if any(re.search(r"[\x00-\x1f\x7f-\x9f]", field) for field in fields):
        return "malformed_header"
    expected = hmac.digest(base64.b64decode(key["secret"]), canonical_string(fields, body).encode(), "sha256")
    if not hmac.compare_digest(expected, tag):
        return "bad_signature"

    if key["not_after"] and now > datetime.datetime.fromisoformat(key["not_after"].replace("Z", "+00:00")).timestamp():
        return "key_expired"
    if signed_audience != audience:
        return "wrong_audience"
    if key["role"] not in ROLES[audience]:
        return "wrong_role"
    if not re.fullmatch(r"[1-9][0-9]{0,15}", workspace) or int(workspace) > 2**53 - 1:
        return "bad_id"
    if key["workspaces"] != ["*"] and int(workspace) not in key["workspaces"]:
        return "foreign_scope"
    if content_type != "application/json":
        return "bad_content_type"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", message_id):
        return "bad_id"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", session):
        return "bad_id"
    if not all(re.fullmatch(r"0|[1-9][0-9]{0,18}", time) for time in (issued_at, expires_at)):
        return "malformed_header"
    if audience == "wa.events" and not re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", message_id):
        return "bad_id"
    if int(issued_at) > now + MAX_SKEW:
        return "issued_in_future"
    if int(expires_at) - int(issued_at) > MAX_LIFETIME:
        return "lifetime_too_long"
    if int(expires_at) <= now or int(expires_at) <= int(issued_at):
        return "expired"
    return None


def body_of(vector):
    body = vector["body"]
    if "base64" in body:
        return base64.b64decode(body["base64"])
    return (body["text"] if "text" in body else body["repeat"] * body["times"]).encode()


def main():
    path = pathlib.Path(__file__).parent / "signing.json"
    vectors = json.loads(path.read_text(encoding="utf-8"))
    wrong = []
    for vector in vectors["accepted"] + vectors["refused"]:
        body = body_of(vector)
        reason = verify(vectors["keyring"], vector["properties"], vector["headers"], body, vector["verify_as"], vector["now"])
        if reason != vector.get("reason"):
            wrong.append(f"{vector['name']}: {reason} instead of {vector.get('reason')}")
        if "canonical" in vector:
            values = {**vector["headers"], **vector["properties"]}
            if canonical_string([values[name] for name in HEADERS], body) != vector["canonical"]:
                wrong.append(f"{vector['name']}: another canonical string")
            if hashlib.sha256(body).hexdigest() != vector["body_sha256"]:
                wrong.append(f"{vector['name']}: another body hash")
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"check.py: {len(vectors['accepted'])} accepted, {len(vectors['refused'])} refused, {len(wrong)} wrong")
    return 1 if wrong or not vectors["accepted"] or not vectors["refused"] else 0


if __name__ == "__main__":
    sys.exit(main())
