SIMPLE_JWT = {
    "ALGORITHM": "ES256",
    "SIGNING_KEY": None,
    "VERIFYING_KEY": None,
    "JWK_URL": "https://auth.example.com/.well-known/jwks.json",
    "ISSUER": "https://auth.example.com",
    "USER_ID_FIELD": "latchkey_id",  # looked up with the claim user_id
}
