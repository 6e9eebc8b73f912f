// A microservice in JavaScript: knows a key set URL, an issuer and an algorithm, and nothing else.
//
// Prints the claims of a good access token as JSON; says why it refuses any other and exits with 1.

import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const [jwksUrl, issuer, algorithm, token] = process.argv.slice(2);
try {
  const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(jwksUrl)), {
    algorithms: [algorithm],
    issuer,
    requiredClaims: ["exp", "iat", "jti", "sub"],
    typ: "at+jwt",
  });
  console.log(JSON.stringify(payload));
} catch (error) {
  if (!(error instanceof errors.JOSEError)) throw error;
  console.error(`refused: ${error.message}`);
  process.exitCode = 1;
}
