// A microservice in JavaScript: knows a key set URL, an issuer and an algorithm, and nothing else.
//
// Prints the claims of each good access token as JSON; says why it refuses any other and exits with 1.

import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const [jwksUrl, issuer, algorithm, ...tokens] = process.argv.slice(2);
// Made once. It keeps the key set for so many milliseconds: LATCHKEY_JWKS_MAX_AGE, where jose's default is ten minutes.
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
