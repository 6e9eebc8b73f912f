// Verifies access tokens with a key set URL, an issuer and an algorithm.
//
// Prints the claims of each valid token as JSON. Prints the error for any other token and exits with 1.

import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const [jwksUrl, issuer, algorithm, ...tokens] = process.argv.slice(2);
// Created once. `cacheMaxAge` is in milliseconds: LATCHKEY_JWKS_MAX_AGE. The default of jose is ten minutes.
const keys = createRemoteJWKSet(new URL(jwksUrl), { cacheMaxAge: 300_000 });
try {
  for (const token of tokens) {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: [algorithm],
      issuer,
      requiredClaims: ["exp", "iat", "jti", "sub"],
      typ: "at+jwt",
    });
    console.log(JSON.stringify(payload));
  }
} catch (error) {
  if (!(error instanceof errors.JOSEError)) throw error;
  console.error(`refused: ${error.message}`);
  process.exitCode = 1;
}
