"""Verifies access tokens with a key set URL, an issuer and an algorithm.

Prints the claims of each valid token as JSON. Prints the error for any other token and exits with 1.
"""

import json
import sys

import jwt

jwks_url, issuer, algorithm, *tokens = sys.argv[1:]
# Created once. `lifespan` is the cache lifetime of the key set in seconds: LATCHKEY_JWKS_MAX_AGE.
keys = jwt.PyJWKClient(jwks_url, lifespan=300)
try:
    for token in tokens:
        decoded = jwt.decode_complete(
            token,
            keys.get_signing_key_from_jwt(token),
            algorithms=[algorithm],
            issuer=issuer,
            options={"require": ["exp", "iat", "iss", "jti", "sub"]},
        )
        if decoded["header"]["typ"] != "at+jwt":
            raise jwt.InvalidTokenError(f"typ is {decoded['header']['typ']}")
        print(json.dumps(decoded["payload"]))
except jwt.PyJWTError as error:
    sys.exit(f"refused: {error}")
