"""Verifies access tokens, and caches the key set for its `max-age`. It does not fetch for an unknown `kid`.

Reads one token a line. Prints "ok" or the error for each, and finally the number of fetches.
"""

import json
import re
import sys
import time
import urllib.request

import jwt

issuer, *urls = sys.argv[1:]
keys, until, fetched = {}, 0.0, 0
for line in sys.stdin:
    token = line.strip()
    if time.monotonic() >= until:
        # The instances take turns. All publish the same key set.
        with urllib.request.urlopen(urls[fetched % len(urls)], timeout=10) as response:
            keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(json.load(response)).keys}
            age = int(re.search(r"max-age=(\d+)", response.headers["cache-control"])[1])
        until = time.monotonic() + age
        fetched += 1
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        if kid not in keys:
            raise jwt.InvalidTokenError(f"no key {kid}")
        decoded = jwt.decode_complete(
            token,
            keys[kid],
            algorithms=["ES256", "EdDSA", "RS256"],
            issuer=issuer,
            options={"require": ["exp", "iat", "iss", "jti", "sub"]},
        )
        if decoded["header"].get("typ") != "at+jwt":
            raise jwt.InvalidTokenError(f"typ is {decoded['header'].get('typ')}")
        print("ok", flush=True)
    except jwt.PyJWTError as error:
        print(f"refused: {error}", flush=True)
print(fetched, flush=True)
