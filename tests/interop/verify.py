"""A microservice in Python: knows a key set URL, an issuer and an algorithm, and nothing else.

Prints the claims of a good access token as JSON; says why it refuses any other and exits with 1.
"""

import json
import sys

import jwt

jwks_url, issuer, algorithm, token = sys.argv[1:]
try:
    key = jwt.PyJWKClient(jwks_url).get_signing_key_from_jwt(token)
    decoded = jwt.decode_complete(
        token,
        key,
        algorithms=[algorithm],
        issuer=issuer,
        options={"require": ["exp", "iat", "iss", "jti", "sub"]},
    )
    if decoded["header"]["typ"] != "at+jwt":
        raise jwt.InvalidTokenError(f"typ is {decoded['header']['typ']}")
except jwt.PyJWTError as error:
    sys.exit(f"refused: {error}")
print(json.dumps(decoded["payload"]))
